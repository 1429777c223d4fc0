//! Every program in `/usr/bin` and every library under `/usr/lib/x86_64-linux-gnu`: slots as `readelf` has
//! them, PLT entries as `objdump` labels them, and the same without section headers.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;

use common::without_sections;
use elf_plt::{CallPoint, CalleeKind, Object, SlotRelocation};

/// How many files one run of a tool gets.
const BATCH: usize = 60;

#[test]
fn slots_and_entries_agree_with_the_binutils() {
    let mut files = Vec::new();
    for root in ["/usr/bin", "/usr/lib/x86_64-linux-gnu"] {
        collect(Path::new(root), &mut files);
    }
    files.sort();
    assert!(files.len() > 100, "only {} ELF files", files.len());
    let batches: Vec<_> = files.chunks(BATCH).collect();
    let workers = thread::available_parallelism().map_or(2, usize::from).min(4);
    let differences: Vec<String> = thread::scope(|scope| {
        let batches = &batches;
        let running: Vec<_> = (0..workers)
            .map(|worker| {
                scope.spawn(move || {
                    batches
                        .iter()
                        .skip(worker)
                        .step_by(workers)
                        .flat_map(|b| compare(b))
                        .collect()
                })
            })
            .collect();
        running
            .into_iter()
            .flat_map(|worker| -> Vec<String> { worker.join().unwrap() })
            .collect()
    });
    assert!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

/// The ELF programs and libraries under `root`; no links, so that each is looked at once.
fn collect(root: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(root).unwrap().flatten() {
        let path = entry.path();
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => collect(&path, files),
            kind if kind.is_file() && is_loadable(&path) => files.push(path),
            _ => {}
        }
    }
}

/// Whether it is an x86 ELF file of type `ET_EXEC` or `ET_DYN`.
fn is_loadable(path: &Path) -> bool {
    let mut header = [0; 20];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut header));
    read.is_ok()
        && header.starts_with(b"\x7fELF")
        && [2, 3].contains(&header[16])
        && [3, 62].contains(&header[18])
}

/// What the tools say of one object.
#[derive(Default)]
struct Witness {
    /// Relocations that fill slots: offset to (kind, name or resolver).
    slots: BTreeMap<u64, (SlotRelocation, String)>,
    /// Names of dynamic symbols that are functions, as far as their type tells.
    functions: BTreeSet<String>,
    /// PLT labels: address to name.
    labels: BTreeMap<u64, String>,
}

fn compare(files: &[PathBuf]) -> Vec<String> {
    let mut witnesses: BTreeMap<String, Witness> = BTreeMap::new();
    read_relocations(&text(&tool("readelf", &["-rW"], files)), &mut witnesses);
    read_symbols(
        &text(&tool("readelf", &["--dyn-syms", "-W"], files)),
        &mut witnesses,
    );
    let sections = [
        "-d",
        "-j.plt",
        "-j.plt.got",
        "-j.plt.sec",
        "-j.plt.bnd",
        "-j.iplt",
        "--no-show-raw-insn",
    ];
    read_labels(&text(&tool("objdump", &sections, files)), &mut witnesses);
    let none = Witness::default();
    let mut differences = Vec::new();
    for file in files {
        let witness = witnesses.get(&*file.to_string_lossy()).unwrap_or(&none);
        for difference in differences_of(file, witness) {
            differences.push(format!("{}: {difference}", file.display()));
        }
    }
    differences
}

fn tool(name: &str, args: &[&str], files: &[PathBuf]) -> Output {
    // binutils exit with 1 where a file lacks one of the sections.
    Command::new(name)
        .args(args)
        .args(files)
        .output()
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn read_relocations(text: &str, witnesses: &mut BTreeMap<String, Witness>) {
    let mut file = String::new();
    for line in text.lines() {
        if let Some(path) = line.strip_prefix("File: ") {
            path.clone_into(&mut file);
        }
        let fields: Vec<_> = line.split_whitespace().collect();
        let &[offset, _, kind, ref rest @ ..] = fields.as_slice() else {
            continue;
        };
        let kind = match kind.trim_start_matches("R_X86_64_").trim_start_matches("R_386_") {
            "JUMP_SLOT" | "JUMP_SLO" => SlotRelocation::JumpSlot,
            "GLOB_DAT" => SlotRelocation::GlobDat,
            "IRELATIVE" | "IRELATIV" => SlotRelocation::Irelative,
            _ => continue,
        };
        let name = match kind {
            SlotRelocation::Irelative => rest.first().copied().unwrap_or_default(),
            _ => rest.get(1).copied().unwrap_or_default(),
        };
        let slot = u64::from_str_radix(offset, 16).unwrap();
        witnesses
            .entry(file.clone())
            .or_default()
            .slots
            .insert(slot, (kind, without_version(name)));
    }
}

fn read_symbols(text: &str, witnesses: &mut BTreeMap<String, Witness>) {
    let mut file = String::new();
    for line in text.lines() {
        if let Some(path) = line.strip_prefix("File: ") {
            path.clone_into(&mut file);
        }
        let fields: Vec<_> = line.split_whitespace().collect();
        let &[_, _, _, kind, _, _, _, name, ..] = fields.as_slice() else {
            continue;
        };
        if kind == "FUNC" || kind == "IFUNC" {
            witnesses
                .entry(file.clone())
                .or_default()
                .functions
                .insert(without_version(name));
        }
    }
}

fn read_labels(text: &str, witnesses: &mut BTreeMap<String, Witness>) {
    let mut file = String::new();
    for line in text.lines() {
        if let Some((path, _)) = line.split_once(":     file format ") {
            path.clone_into(&mut file);
        }
        let Some((addr, label)) = line.split_once(" <") else {
            continue;
        };
        let Some(name) = label.strip_suffix("@plt>:") else {
            continue;
        };
        let Ok(addr) = u64::from_str_radix(addr, 16) else {
            continue;
        };
        witnesses
            .entry(file.clone())
            .or_default()
            .labels
            .insert(addr, name.to_owned());
    }
}

fn without_version(name: &str) -> String {
    name.split('@').next().unwrap_or_default().to_owned()
}

fn differences_of(path: &Path, witness: &Witness) -> Vec<String> {
    let data = fs::read(path).unwrap();
    let object = match Object::parse(&data) {
        Ok(object) => object,
        Err(error) => return vec![error.to_string()],
    };
    let points = match object.call_points() {
        Ok(points) => points,
        Err(error) => return vec![error.to_string()],
    };
    let mut differences = slot_differences(&points, witness);
    differences.extend(entry_differences(&points, witness));
    let bare = without_sections(&data);
    let bare_points = Object::parse(&bare)
        .and_then(|object| object.call_points())
        .unwrap();
    if let Some(difference) = missing_without_sections(&points, &bare_points) {
        differences.push(difference);
    }
    differences
}

fn slot_differences(points: &[CallPoint<'_>], witness: &Witness) -> Vec<String> {
    let mut differences = Vec::new();
    let mut ours = BTreeSet::new();
    for point in points {
        for slot in point.slots() {
            ours.insert(slot.addr.get());
            let name = match point.kind() {
                CalleeKind::Ifunc { resolver } => format!("{:x}", resolver.get()),
                _ => String::from_utf8_lossy(point.name().unwrap()).into_owned(),
            };
            match witness.slots.get(&slot.addr.get()) {
                Some((kind, theirs)) if *kind == slot.relocation && *theirs == name => {}
                other => differences.push(format!("{slot:?} of {name}, readelf has {other:?}")),
            }
        }
    }
    for (slot, (kind, name)) in &witness.slots {
        let function = *kind != SlotRelocation::GlobDat || witness.functions.contains(name);
        // readelf prints no name where a JUMP_SLOT has no symbol.
        if function && !name.is_empty() && !ours.contains(slot) {
            differences.push(format!("no slot {slot:#x} of {name}"));
        }
    }
    differences
}

fn entry_differences(points: &[CallPoint<'_>], witness: &Witness) -> Vec<String> {
    let mut ours = BTreeMap::new();
    for point in points {
        let name = match point.kind() {
            CalleeKind::Ifunc { resolver } => format!("*ABS*+{:#x}", resolver.get()),
            _ => String::from_utf8_lossy(point.name().unwrap()).into_owned(),
        };
        ours.extend(point.plt().iter().map(|entry| (entry.addr.get(), name.clone())));
    }
    let theirs = &witness.labels;
    let mut differences = Vec::new();
    for (addr, name) in &ours {
        if theirs.get(addr) != Some(name) {
            differences.push(format!(
                "entry {addr:#x} of {name}, objdump has {:?}",
                theirs.get(addr)
            ));
        }
    }
    for (addr, name) in theirs.iter().filter(|(addr, _)| !ours.contains_key(addr)) {
        differences.push(format!("no entry {addr:#x} of {name}"));
    }
    differences
}

fn missing_without_sections(points: &[CallPoint<'_>], bare: &[CallPoint<'_>]) -> Option<String> {
    let entries = |points: &[CallPoint<'_>]| -> BTreeSet<_> {
        points
            .iter()
            .flat_map(CallPoint::plt)
            .map(|entry| (entry.addr, entry.slot, entry.len))
            .collect()
    };
    let (points, bare) = (entries(points), entries(bare));
    if points == bare {
        return None;
    }
    let mut text = String::from("without section headers");
    for (sign, entry) in points
        .difference(&bare)
        .map(|e| ('-', e))
        .chain(bare.difference(&points).map(|e| ('+', e)))
        .take(4)
    {
        let _ = write!(text, " {sign}{entry:?}");
    }
    Some(text)
}
