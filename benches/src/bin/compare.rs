//! `compare`: rltrace beside other tracers on this machine. See README.md.

use clap::Parser;
use rltrace_benches::comparison::{self, Plan};
use rltrace_benches::fixture::Fixtures;
use rltrace_benches::report::{chart, table};
use rltrace_benches::tools::{Setup, Workload, has_config_option};
use rltrace_benches::tracer::{self, Profile};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Runs rltrace, ltrace, strace, uftrace, gdb and perf on the same programs, and writes a table and a chart.
#[derive(Debug, Parser)]
#[command(name = "compare")]
struct Options {
    /// How often every run is made; the rounds are interleaved.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// The folder for comparison.md, comparison.tsv and comparison.svg.
    #[arg(long, default_value = ".")]
    out: PathBuf,
    /// The tracer; without it that of this workspace is built and taken.
    #[arg(long)]
    rltrace: Option<PathBuf>,
    /// Only these workloads: ints, text, threads, summary, syscall, true, ls, imports, attach.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Measures what each part of a stop costs, too.
    #[arg(long)]
    breakdown: bool,
}

fn main() -> ExitCode {
    match compare(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprintln!("  because: {cause}");
                source = cause.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn compare(options: &Options) -> Result<(), Box<dyn Error>> {
    let plan = plan(options)?;
    let rltrace = match &options.rltrace {
        Some(path) => fs::canonicalize(path)?,
        None => tracer::built(Profile::Release)?,
    };
    let folder = tempfile::tempdir()?;
    let setup = set_up(folder.path(), rltrace, &plan)?;
    let results = comparison::run(&setup, &plan, &mut |what| eprintln!("{what}"));
    let report = table::markdown(&results);
    fs::create_dir_all(&options.out)?;
    fs::write(options.out.join("comparison.md"), &report)?;
    fs::write(options.out.join("comparison.tsv"), table::tsv(&results))?;
    fs::write(options.out.join("comparison.svg"), chart::svg(&results))?;
    print!("{report}");
    Ok(())
}

fn plan(options: &Options) -> Result<Plan, String> {
    let word = |word: &String| Workload::ALL.into_iter().find(|workload| workload.word() == word);
    let wanted = options.only.iter().filter(|only| *only != "attach");
    let workloads: Option<Vec<Workload>> = wanted.map(word).collect();
    let workloads = workloads.ok_or("--only has a word that is no workload")?;
    let everything = options.only.is_empty();
    Ok(Plan {
        rounds: options.rounds.max(1),
        workloads: if everything {
            Workload::ALL.to_vec()
        } else {
            workloads
        },
        attach: everything || options.only.iter().any(|only| only == "attach"),
        parts: options.breakdown,
    })
}

fn set_up(folder: &Path, rltrace: PathBuf, plan: &Plan) -> Result<Setup, Box<dyn Error>> {
    let (programs, scratch) = (folder.join("programs"), folder.join("scratch"));
    fs::create_dir(&programs)?;
    fs::create_dir(&scratch)?;
    eprintln!("compiling what is traced");
    let fixtures = Fixtures::build(&programs)?;
    if plan.workloads.contains(&Workload::Imports) {
        fixtures.build_imports()?;
    }
    let rltrace_config = has_config_option(&rltrace, &scratch);
    let probes = format!("rltrace_benches_{}", std::process::id());
    Ok(Setup {
        fixtures,
        rltrace,
        rltrace_config,
        scratch,
        probes,
    })
}
