//! The rules of the house that a text search can check, and that its documents name what is there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The workspace.
fn root() -> PathBuf {
    let parent = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    parent.expect("tests lies in the workspace").to_owned()
}

fn text(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All Rust files below a folder of the workspace, with their texts, by path from the workspace.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for path in entries.map(|entry| entry.expect("an entry").path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path
                    .strip_prefix(root())
                    .expect("below the root")
                    .display()
                    .to_string();
                let text = text(&name);
                found.push((name, text));
            }
        }
    }
    found
}

const LIBRARIES: [&str; 6] = [
    "arch-abi",
    "elf-plt",
    "ptrace-core",
    "breakpoint",
    "fast-ring",
    "reference-tracer",
];

/// The code of a line: what comes before a comment. (No source has `//` in a string that matters here.)
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

#[test]
fn unsafe_code_is_in_one_module_of_a_crate() {
    let allowed = ["ptrace-core/src/sys", "reference-tracer/src/sys.rs"];
    let mut found = BTreeSet::new();
    for (path, text) in LIBRARIES
        .iter()
        .flat_map(|krate| sources(&format!("{krate}/src")))
    {
        let is_unsafe = |line: &str| {
            let code = code(line);
            ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"]
                .iter()
                .any(|word| code.contains(word))
        };
        if text.lines().any(is_unsafe) {
            let module = allowed.iter().find(|module| {
                path.strip_prefix(**module)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
            found.insert(module.map_or(path.clone(), |&module| module.to_owned()));
        }
    }
    assert_eq!(found.into_iter().collect::<Vec<_>>(), allowed);
    for krate in ["arch-abi", "elf-plt", "breakpoint", "fast-ring"] {
        assert!(
            text(&format!("{krate}/src/lib.rs")).contains("#![forbid(unsafe_code)]"),
            "{krate}"
        );
    }
}

#[test]
fn no_library_opens_an_object_file() {
    for (path, text) in ["arch-abi", "elf-plt", "breakpoint", "fast-ring"]
        .iter()
        .flat_map(|krate| sources(&format!("{krate}/src")))
    {
        // Tests may: what they read, they hand in as bytes.
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        for line in text.lines().map(code) {
            let opens = ["std::fs", "File::open", "fs::read"]
                .iter()
                .any(|word| line.contains(word));
            assert!(!opens, "{path}: {line}");
        }
    }
}

/// The dependencies between the crates of the workspace are those of the drawing.
#[test]
fn there_is_no_other_arrow() {
    for (krate, allowed) in [
        ("arch-abi", &[][..]),
        ("elf-plt", &["arch-abi"]),
        ("ptrace-core", &["arch-abi"]),
        ("breakpoint", &["arch-abi"]),
        ("fast-ring", &[]),
    ] {
        let manifest = text(&format!("{krate}/Cargo.toml"));
        let (_, dependencies) = manifest.split_once("[dependencies]").expect("dependencies");
        let dependencies = dependencies.split("\n[").next().expect("a table");
        for other in LIBRARIES.iter().filter(|other| !allowed.contains(other)) {
            // What a feature asks for is the reuser's choice, and off by default.
            let arrow = dependencies
                .lines()
                .any(|line| line.starts_with(other) && !line.contains("optional = true"));
            assert!(!arrow, "{krate} -> {other}");
        }
    }
}

/// Each quirk has a source, a test that is there, and a line in `ARCHITECTURE.md`; each line there has a quirk.
#[test]
fn quirks_are_indexed_and_tested() {
    let index = text("ARCHITECTURE.md");
    let (_, index) = index.split_once("## Quirks of the kernel").expect("the index");
    let mut names = BTreeSet::new();
    for (path, source) in LIBRARIES
        .iter()
        .flat_map(|krate| sources(&format!("{krate}/src")))
    {
        for (_, quirk) in source
            .match_indices("// QUIRK ")
            .map(|(at, word)| source.split_at(at + word.len()))
        {
            let comment: Vec<&str> = quirk
                .lines()
                .enumerate()
                .take_while(|(number, line)| *number == 0 || line.trim_start().starts_with("//"))
                .map(|(_, line)| line.trim_start().trim_start_matches('/').trim())
                .collect();
            let comment = comment.join(" ");
            let name = comment.split(':').next().expect("a name").to_owned();
            for part in ["Seen: ", "Source: ", "Drop when: ", "Test: "] {
                assert!(comment.contains(part), "{path}: quirk {name} has no {part:?}");
            }
            let (_, test) = comment.split_once("Test: ").expect("it was there");
            let (file, test) = test.split_once(", ").expect("Test: FILE, NAME");
            let test = test
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .next()
                .unwrap_or_default();
            let krate = path.split('/').next().expect("a crate");
            let beside = [format!("{krate}/{file}"), file.to_owned()];
            let there = beside.iter().any(|file| {
                std::fs::read_to_string(root().join(file))
                    .is_ok_and(|text| text.contains(&format!("fn {test}(")))
            });
            assert!(there, "{path}: quirk {name} has no test {test} in {file}");
            assert!(
                index.contains(&format!("| `{name}` | `{path}` |")),
                "{name} of {path} is not in ARCHITECTURE.md"
            );
            names.insert(name);
        }
    }
    let listed = index.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(listed, names.len(), "ARCHITECTURE.md lists others than {names:?}");
}

/// Files that the documents name are there.
#[test]
fn links_lead_somewhere() {
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"] {
        let content = text(document);
        for (_, rest) in content
            .match_indices("](")
            .map(|(at, word)| content.split_at(at + word.len()))
        {
            let link = rest.split(')').next().expect("a link");
            let link = link.split('#').next().expect("a path");
            assert!(
                link.starts_with("https://") || link.is_empty() || root().join(link).exists(),
                "{document}: {link}"
            );
        }
    }
}
