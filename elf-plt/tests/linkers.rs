//! Call points of objects that every linker wrote in every way, compared with `objdump` and `readelf`.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{compile, directory, run, stdout, without_sections};
use elf_plt::{CallPoint, CalleeKind, Object, SlotRelocation};

/// PLT entries by the callee's name.
type Entries = BTreeMap<String, BTreeSet<u64>>;

fn entries(points: &[CallPoint<'_>]) -> Entries {
    let mut found = Entries::new();
    for point in points.iter().filter(|point| !point.plt().is_empty()) {
        let name = String::from_utf8_lossy(point.name().unwrap()).into_owned();
        found
            .entry(name)
            .or_default()
            .extend(point.plt().iter().map(|entry| entry.addr.get()));
    }
    found
}

/// The entries' jumps by objdump, which resolves what `jmp *slot(%rip)` reads: `# addr <name@version>`.
fn jumps_by_objdump(path: &Path, slots: &BTreeMap<u64, String>) -> BTreeMap<u64, String> {
    let text = stdout(
        Command::new("objdump")
            .args(["-d", "--no-show-raw-insn"])
            .arg(path),
    );
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let Some((addr, code)) = line.trim().split_once(":\t") else {
            continue;
        };
        let jump = code.starts_with("jmp ") || code.starts_with("bnd jmp ") || code.starts_with("mov ");
        let target = code
            .rsplit_once("# ")
            .and_then(|(_, target)| target.split(' ').next());
        let slot = target.and_then(|target| u64::from_str_radix(target.trim_start_matches("0x"), 16).ok());
        if let (true, Some(name)) = (jump, slot.and_then(|slot| slots.get(&slot))) {
            found.insert(u64::from_str_radix(addr, 16).unwrap(), name.clone());
        }
    }
    found
}

/// The slots by `readelf -rW`: offset and symbol's name without its version.
fn slots_by_readelf(path: &Path) -> BTreeMap<u64, String> {
    let text = stdout(Command::new("readelf").args(["-rW"]).arg(path));
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let fields: Vec<_> = line.split_whitespace().collect();
        let &[offset, _, kind, _, name, ..] = fields.as_slice() else {
            continue;
        };
        let kinds = [
            "R_X86_64_JUMP_SLOT",
            "R_X86_64_JUMP_SLO",
            "R_X86_64_GLOB_DAT",
            "R_386_JUMP_SLOT",
            "R_386_GLOB_DAT",
        ];
        if kinds.contains(&kind) {
            let name = name.split('@').next().unwrap().to_owned();
            found.insert(u64::from_str_radix(offset, 16).unwrap(), name);
        }
    }
    found
}

/// A way to build `imports.c`.
struct Case {
    name: &'static str,
    compiler: &'static str,
    flags: &'static [&'static str],
    /// Whether calls go through PLT entries.
    plt: bool,
}

const fn case(name: &'static str, compiler: &'static str, flags: &'static [&'static str], plt: bool) -> Case {
    Case {
        name,
        compiler,
        flags,
        plt,
    }
}

const IBT: &str = "-fcf-protection=full";

#[rustfmt::skip]
const CASES: &[Case] = &[
    case("ld", "gcc", &["-O1"], true),
    case("ld-lazy", "gcc", &["-O1", "-Wl,-z,lazy"], true),
    case("ld-now", "gcc", &["-O1", "-Wl,-z,now"], true),
    case("ld-ibt-lazy", "gcc", &["-O1", IBT, "-Wl,-z,ibtplt,-z,lazy"], true),
    case("ld-ibt-now", "gcc", &["-O1", IBT, "-Wl,-z,ibtplt,-z,now"], true),
    case("ld-no-pie-lazy", "gcc", &["-O1", "-no-pie", "-fno-pic", "-Wl,-z,lazy"], true),
    case("ld-no-pie-now", "gcc", &["-O1", "-no-pie", "-fno-pic", "-Wl,-z,now"], true),
    case("ld-no-plt", "gcc", &["-O2", "-fno-plt"], false),
    case("ld-no-plt-ibt", "gcc", &["-O2", "-fno-plt", IBT], false),
    case("ld-no-plt-no-pie", "gcc", &["-O2", "-no-pie", "-fno-pic", "-fno-plt"], false),
    case("ld-stripped", "gcc", &["-O1", "-s"], true),
    case("ld-sysv-hash", "gcc", &["-O1", "-Wl,--hash-style=sysv"], true),
    case("gold-lazy", "gcc", &["-O1", "-fuse-ld=gold", "-Wl,-z,lazy"], true),
    case("gold-now", "gcc", &["-O1", "-fuse-ld=gold", "-Wl,-z,now"], true),
    case("lld", "gcc", &["-O1", "-fuse-ld=lld"], true),
    case("lld-now", "gcc", &["-O1", "-fuse-ld=lld", "-Wl,-z,now"], true),
    case("lld-retpoline", "gcc", &["-O1", "-fuse-ld=lld", "-Wl,-z,retpolineplt"], true),
    case("lld-retpoline-now", "gcc", &["-O1", "-fuse-ld=lld", "-Wl,-z,retpolineplt,-z,now"], true),
    case("lld-ibt", "gcc", &["-O1", IBT, "-fuse-ld=lld", "-Wl,-z,force-ibt"], true),
    case("lld-relr", "gcc", &["-O1", "-fuse-ld=lld", "-Wl,--pack-dyn-relocs=relr"], true),
    case("mold", "gcc", &["-O1", "-fuse-ld=mold"], true),
    case("mold-now", "gcc", &["-O1", "-fuse-ld=mold", "-Wl,-z,now"], true),
    case("mold-no-plt", "gcc", &["-O2", "-fno-plt", "-fuse-ld=mold"], false),
    case("clang", "clang", &["-O1"], true),
    case("clang-no-plt", "clang", &["-O2", "-fno-plt"], false),
    case("clang-lld-no-plt", "clang", &["-O2", "-fno-plt", "-fuse-ld=lld"], false),
    case("i386-lazy", "i686-linux-gnu-gcc", &["-O1", "-Wl,-z,lazy"], true),
    case("i386-now", "i686-linux-gnu-gcc", &["-O1", "-Wl,-z,now"], true),
    case("i386-no-pie-lazy", "i686-linux-gnu-gcc", &["-O1", "-no-pie", "-fno-pic", "-Wl,-z,lazy"], true),
    case("i386-no-pie-now", "i686-linux-gnu-gcc", &["-O1", "-no-pie", "-fno-pic", "-Wl,-z,now"], true),
    case("i386-ibt", "i686-linux-gnu-gcc", &["-O1", IBT, "-Wl,-z,ibtplt"], true),
    case("i386-no-plt", "i686-linux-gnu-gcc", &["-O2", "-fno-plt"], false),
    case("i386-no-plt-no-pie", "i686-linux-gnu-gcc", &["-O2", "-fno-plt", "-no-pie", "-fno-pic"], false),
];

/// What `imports.c` calls, by names that no option changes.
const CALLED: [&str; 4] = ["puts", "getenv", "strlen", "rand_r"];

#[test]
fn every_linker_in_every_way() {
    for case in CASES {
        let path = compile(case.name, case.compiler, "imports.c", case.flags);
        let data = std::fs::read(&path).unwrap();
        check(case.name, &data, case.plt);
        if !case.name.starts_with("i386") {
            agrees_with_objdump(case.name, &path, &data);
        }
        let bare = without_sections(&data);
        check(case.name, &bare, case.plt);
        assert_same(case.name, &data, &bare);
    }
}

/// Every callee is a call point that code reaches in the way it was compiled for.
fn check(name: &str, data: &[u8], plt: bool) {
    let object = Object::parse(data).unwrap();
    let points = object.call_points().unwrap();
    let references = object.references(&points, &points).unwrap();
    for callee in CALLED {
        let point = points
            .iter()
            .find(|point| point.name() == Some(callee.as_bytes()))
            .unwrap_or_else(|| panic!("{name}: {callee} is no call point"));
        assert_eq!(point.kind(), CalleeKind::Function, "{name}: {callee}");
        assert!(point.version().is_some(), "{name}: {callee} has no version");
        let used = references.of_point(point);
        if plt {
            assert!(!point.plt().is_empty(), "{name}: {callee} has no PLT entry");
        } else {
            assert_eq!(point.plt(), [], "{name}: {callee} has a PLT entry");
            let direct = used.calls.len() + used.jumps.len();
            assert!(direct > 0 || used.loaded, "{name}: nothing reaches {callee}");
        }
    }
    let is_point = |name: &str| points.iter().any(|point| point.name() == Some(name.as_bytes()));
    assert!(!is_point("stdout"), "{name}: data is no call point");
}

/// Each entry jumps through the slot that objdump says. (That no entry is missed, `whole_system.rs` compares
/// with objdump's labels.)
fn agrees_with_objdump(name: &str, path: &Path, data: &[u8]) {
    let slots = slots_by_readelf(path);
    let jumps = jumps_by_objdump(path, &slots);
    let object = Object::parse(data).unwrap();
    let points = object.call_points().unwrap();
    for point in &points {
        for entry in point.plt() {
            let jump = entry.addr.get() + u64::from(entry.jump);
            let callee = jumps.get(&jump).map(String::as_bytes);
            assert_eq!(callee, point.name(), "{name}: the entry at {}", entry.addr);
        }
    }
}

/// With and without section headers, an object has the same call points.
fn assert_same(name: &str, data: &[u8], bare: &[u8]) {
    let (whole, bare) = (Object::parse(data).unwrap(), Object::parse(bare).unwrap());
    let (whole_points, bare_points) = (whole.call_points().unwrap(), bare.call_points().unwrap());
    assert_eq!(
        entries(&whole_points),
        entries(&bare_points),
        "{name} without section headers"
    );
    let whole_uses = whole.references(&whole_points, &whole_points).unwrap();
    let bare_uses = bare.references(&bare_points, &bare_points).unwrap();
    for point in &whole_points {
        let callee = String::from_utf8_lossy(point.name().unwrap());
        assert_eq!(
            whole_uses.of_point(point),
            bare_uses.of_point(point),
            "{name}: {callee}"
        );
    }
}

/// i386 with linkers that have no 32-bit start-up files here: a library, and a program without PIC.
#[test]
fn i386_with_every_linker() {
    let dir = directory("i386-linkers");
    let library = dir.join("libcallees.so");
    let fixture = |name: &str| {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures")
            .join(name)
    };
    let callees = dir.join("callees.c");
    std::fs::write(
        &callees,
        "int f(int a){return a;} int g(int a){return a;} int h(int a){return a;}",
    )
    .unwrap();
    let gcc = || Command::new("i686-linux-gnu-gcc");
    run(gcc()
        .args(["-shared", "-nostdlib", "-fPIC"])
        .arg(&callees)
        .arg("-o")
        .arg(&library));
    for pic in [true, false] {
        let object = dir.join(format!("pic-{pic}.o"));
        let flag = if pic { "-fPIC" } else { "-fno-pic" };
        run(gcc()
            .args(["-O1", "-c", flag])
            .arg(fixture("free_standing.c"))
            .arg("-o")
            .arg(&object));
        for (linker, options) in [
            ("ld", &[][..]),
            ("ld.gold", &[]),
            ("ld.lld", &[]),
            ("ld.lld", &["-z", "retpolineplt"]),
            ("mold", &[]),
        ] {
            let cases = ["lazy", "now"].map(|binding| [&["-z", binding], options].concat());
            for options in cases {
                let out = dir.join("linked");
                let mut link = Command::new(linker);
                link.args(["-m", "elf_i386", "-e", "m"])
                    .args(&options)
                    .arg(&object)
                    .arg(&library);
                link.args(if pic {
                    &["-shared"][..]
                } else {
                    &["--dynamic-linker", "/lib/ld-linux.so.2"]
                });
                run(link.arg("-o").arg(&out));
                i386_callees(&format!("{linker} {options:?} pic {pic}"), &out);
            }
        }
    }
}

fn i386_callees(name: &str, path: &PathBuf) {
    let data = std::fs::read(path).unwrap();
    for data in [without_sections(&data), data] {
        let object = Object::parse(&data).unwrap();
        let points = object.call_points().unwrap();
        let found: Vec<_> = entries(&points).into_keys().collect();
        assert_eq!(found, ["f", "g", "h"], "{name}");
        let slots = slots_by_readelf(path);
        for point in &points {
            for slot in point.slots() {
                assert_eq!(
                    slots[&slot.addr.get()].as_bytes(),
                    point.name().unwrap(),
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn local_ifuncs_have_the_name_of_what_they_select() {
    for (name, compiler, flags) in [
        ("ifunc", "gcc", &["-O1"][..]),
        ("ifunc-static", "gcc", &["-O1", "-static"]),
        ("ifunc-static-pie", "gcc", &["-O1", "-static-pie"]),
        (
            "ifunc-i386",
            "i686-linux-gnu-gcc",
            &["-O1", "-no-pie", "-fno-pic"],
        ),
        (
            "ifunc-i386-static",
            "i686-linux-gnu-gcc",
            &["-O1", "-static", "-no-pie", "-fno-pic"],
        ),
    ] {
        let data = std::fs::read(compile(name, compiler, "ifunc.c", flags)).unwrap();
        let object = Object::parse(&data).unwrap();
        assert_eq!(object.is_static(), name.contains("static"), "{name}");
        let points = object.call_points().unwrap();
        let point = points
            .iter()
            .find(|point| point.name() == Some(b"selected"))
            .unwrap_or_else(|| panic!("{name}: no call point named by the ifunc: {points:#?}"));
        let CalleeKind::Ifunc { resolver } = point.kind() else {
            panic!("{name}: {point:?}")
        };
        let functions = object.functions().unwrap();
        let function = functions.at(resolver).unwrap();
        assert!(function.is_ifunc(), "{name}");
        assert!(
            function
                .aliases()
                .iter()
                .any(|symbol| symbol.name == b"resolve_selected"),
            "{name}"
        );
        assert!(
            point
                .slots()
                .iter()
                .all(|slot| slot.relocation == SlotRelocation::Irelative),
            "{name}"
        );
        assert!(!point.plt().is_empty(), "{name}");
    }
}

#[test]
fn versions_aliases_and_lookup() {
    let map = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/versions.map");
    let script = format!("-Wl,--version-script={}", map.display());
    for style in ["gnu", "sysv", "both"] {
        let style = format!("-Wl,--hash-style={style}");
        let flags = [
            "-shared",
            "-fPIC",
            "-Wl,-soname,libversions.so.7",
            &script,
            &style,
        ];
        let data = std::fs::read(compile("versions", "gcc", "versions.c", &flags)).unwrap();
        for data in [without_sections(&data), data] {
            versions_of(&Object::parse(&data).unwrap(), &style);
        }
    }
}

fn versions_of(object: &Object<'_>, style: &str) {
    assert_eq!(object.soname(), Some(&b"libversions.so.7"[..]));
    let default = object.lookup(b"value", None).unwrap().unwrap();
    let version = default.version.unwrap();
    assert_eq!((version.name, version.hidden), (&b"V2"[..], false), "{style}");
    let old = object.lookup(b"value", Some(b"V1")).unwrap().unwrap();
    assert!(old.version.unwrap().hidden && old.addr != default.addr, "{style}");
    assert_eq!(object.lookup(b"value", Some(b"V3")).unwrap(), None, "{style}");
    assert_eq!(object.lookup(b"valu", None).unwrap(), None, "{style}");
    let functions = object.functions().unwrap();
    let alias = functions
        .at(object.lookup(b"__internal", None).unwrap().unwrap().addr)
        .unwrap();
    assert_eq!(alias.public().name, b"public_name", "{style}");
    assert_eq!(alias.aliases().len(), 2, "{style}");
    let inside = functions.containing(alias.addr().wrapping_add(1)).unwrap();
    assert_eq!(inside.addr(), alias.addr(), "{style}");
}
