//! How often the number of arguments that a function's code tells is the number that it takes.
//!
//! Truth are the generated prototypes of three libraries; of other libraries' functions the analysis knows
//! the prototypes, as it does in a trace. `cargo test -p reference-tracer --test registers -- --nocapture`
//! prints the rates.

use std::path::{Path, PathBuf};

use arch_abi::Arch;
use reference_tracer::derive::{
    code::{Args, Counts},
    exported_arguments,
};
use reference_tracer::proto::Prototypes;

const LIBRARIES: [&str; 3] = ["libssl.so.3", "libz.so.1", "libglib-2.0.so.0"];

fn database(soname: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("prototypes/db")
        .join(format!("{soname}.conf"))
}

/// The prototypes of these libraries.
fn prototypes(sonames: &[&str]) -> Prototypes {
    let mut prototypes = Prototypes::new();
    let read = |path: PathBuf| {
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let types = read(database("types").with_file_name("types.conf"));
    for soname in sonames {
        let mut problems = Vec::new();
        // The types stand in the order of their names, so that some are used before they are defined.
        let text = format!("{types}\n{types}\n{types}\n{types}\n{}", read(database(soname)));
        prototypes.load(Path::new(soname), &text, Some(soname), &mut problems);
        let first = 4 * (types.lines().count() + 1);
        let bad = problems.iter().find(|problem| problem.line > first);
        assert!(bad.is_none(), "{}", bad.expect("it is there"));
    }
    prototypes
}

fn file_of(soname: &str) -> PathBuf {
    let folders = [
        "/lib/x86_64-linux-gnu",
        "/usr/lib/x86_64-linux-gnu",
        "/lib64",
        "/usr/lib64",
        "/usr/lib",
    ];
    folders
        .iter()
        .map(|folder| Path::new(folder).join(soname))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{soname} is not installed"))
}

#[derive(Default)]
struct Rates {
    all: usize,
    exact: usize,
    fewer: usize,
    more: usize,
    wrong: Vec<String>,
}

fn rates(soname: &str) -> Rates {
    let own = std::cell::RefCell::new(prototypes(&[soname]));
    let others = std::cell::RefCell::new(prototypes(&["libcrypto.so.3"]));
    let of_others = |name: &str| {
        let plan = others.borrow_mut().plan(Arch::X86_64, &[], name);
        plan.known.then(|| Args::of_plan(&plan))
    };
    let of_others = |name: &str| (soname != "libcrypto.so.3").then(|| of_others(name)).flatten();
    let (arch, found) = exported_arguments(&file_of(soname), &of_others).expect("a library");
    assert_eq!(arch, Arch::X86_64);
    let mut rates = Rates::default();
    for (name, found) in found {
        let plan = own.borrow_mut().plan(arch, &[soname], &name);
        if !plan.known || plan.prototype.ellipsis || plan.has_pack() {
            continue;
        }
        let (truth, told) = (Args::of_plan(&plan).counts(arch), found.args.counts(arch));
        rates.all += 1;
        let Counts { ints, floats } = told;
        if told == truth {
            rates.exact += 1;
            continue;
        }
        if ints <= truth.ints && floats <= truth.floats {
            rates.fewer += 1;
        } else {
            rates.more += 1;
        }
        rates.wrong.push(format!(
            "{name} {ints}+{floats} instead of {}+{}",
            truth.ints, truth.floats
        ));
    }
    rates
}

#[test]
fn the_code_tells_how_many_arguments_there_are() {
    for soname in LIBRARIES {
        let Rates {
            all,
            exact,
            fewer,
            more,
            wrong,
        } = rates(soname);
        println!("{soname}: {all} functions, {exact} exact, {fewer} fewer, {more} more");
        println!("  {}", wrong.join(", "));
        assert!(all > 50, "{soname}: {all} functions are too few to tell");
        assert!(exact * 100 >= all * 95, "{soname}: {exact} of {all}");
    }
}
