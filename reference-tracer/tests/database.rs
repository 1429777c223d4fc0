//! The generated prototypes are what the language asks of searched files (LANGUAGE.md, "Searched files").

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use reference_tracer::proto::Prototypes;

/// The files of the database with their text, by soname, `types.conf` among them.
fn files() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("prototypes/db");
    let entries = std::fs::read_dir(&folder).expect("the database's folder");
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
        .map(|path| (soname(&path), std::fs::read_to_string(&path).expect("UTF-8 text")))
        .collect()
}

fn soname(path: &Path) -> String {
    let stem = path.file_stem().expect("a file name");
    stem.to_str().expect("a soname in ASCII").to_owned()
}

/// The items of a file, without the comments before the first.
fn items(text: &str) -> impl Iterator<Item = &str> {
    text.lines().skip_while(|line| line.starts_with('#'))
}

/// The name by which a line is found: the word before the first `(`, or the word that is defined.
fn key(line: &str) -> &str {
    for defining in ["alias ", "typedef "] {
        if let Some(rest) = line.strip_prefix(defining) {
            return rest.split(' ').next().expect("a name");
        }
    }
    let before = line.split('(').next().expect("split gives one part at least");
    before.rsplit(' ').next().expect("a name")
}

#[test]
fn files_are_sorted_without_duplicates() {
    for (soname, text) in files() {
        let keys: Vec<&[u8]> = items(&text).map(|line| key(line).as_bytes()).collect();
        assert!(!keys.is_empty(), "{soname}");
        for pair in keys.windows(2) {
            let first = String::from_utf8_lossy(pair[0]);
            assert!(
                pair[0] < pair[1],
                "{soname}: {first} is not before what follows it"
            );
        }
    }
}

#[test]
fn an_alias_names_a_prototype_of_its_file() {
    for (soname, text) in files() {
        let keys: BTreeSet<&str> = items(&text)
            .filter(|line| !line.starts_with("alias "))
            .map(key)
            .collect();
        for line in items(&text).filter(|line| line.starts_with("alias ")) {
            let old = line.trim_end_matches(';').rsplit(' ').next().expect("a name");
            assert!(keys.contains(old), "{soname}: {line}");
        }
    }
}

#[test]
fn the_index_names_every_file() {
    let index = include_str!("../prototypes/db/index.rs");
    let listed: Vec<&str> = index.split('"').skip(1).step_by(4).collect();
    let found: Vec<String> = files().into_keys().filter(|name| name != "types").collect();
    assert_eq!(listed, found);
}

/// The database's types before the lines that use them, the types in the order of their use: a user's
/// file is read from top to bottom.
fn types_in_order(text: &str) -> String {
    let lines: BTreeMap<&str, &str> = items(text).map(|line| (key(line), line)).collect();
    let mut ordered = String::new();
    let mut done = BTreeSet::new();
    for name in lines.keys() {
        append_type(name, &lines, &mut done, &mut ordered);
    }
    ordered
}

/// Appends a type after those that it needs. Types of the database never need themselves.
fn append_type<'a>(
    name: &'a str,
    lines: &BTreeMap<&'a str, &'a str>,
    done: &mut BTreeSet<&'a str>,
    ordered: &mut String,
) {
    let Some(line) = lines.get(name) else { return };
    if !done.insert(name) {
        return;
    }
    let words = line.split(|c: char| !(c.is_ascii_alphanumeric() || "_.$@+-".contains(c)));
    for word in words.filter(|word| *word != name) {
        append_type(word, lines, done, ordered);
    }
    ordered.push_str(line);
    ordered.push('\n');
}

#[test]
fn every_line_parses_and_every_named_type_exists() {
    let files = files();
    let curated = include_str!("../prototypes/types.conf");
    let own: BTreeSet<&str> = items(&files["types"]).map(key).collect();
    let curated = items(curated)
        .filter(|line| !own.contains(key(line)))
        .collect::<Vec<_>>()
        .join("\n");
    let mut all = types_in_order(&format!("{}{curated}\n", files["types"]));
    let libraries = files.iter().filter(|(soname, _)| *soname != "types");
    all.extend(
        libraries
            .flat_map(|(_, text)| items(text))
            .flat_map(|line| [line, "\n"]),
    );
    let mut problems = Vec::new();
    Prototypes::new().load(Path::new("database"), &all, None, &mut problems);
    let lines: Vec<&str> = all.lines().collect();
    let broken: Vec<String> = problems
        .iter()
        .map(|problem| format!("{problem}\n    {}", lines[problem.line - 1]))
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_size_stays_within_what_is_embedded() {
    let size: usize = files().values().map(String::len).sum();
    assert!(size < 4 << 20, "{size} bytes");
}

/// What a Debian machine's programs import most is described: `generate/imports.tsv` has a function a line,
/// with its library and how many of 1,590 programs import it.
#[test]
fn what_programs_import_is_covered() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("prototypes");
    let demand = std::fs::read_to_string(folder.join("generate/imports.tsv")).expect("the demand");
    let files = files();
    let names: BTreeMap<&str, BTreeSet<&str>> = files
        .iter()
        .map(|(soname, text)| (soname.as_str(), items(text).map(key).collect()))
        .collect();
    let curated: BTreeSet<&str> = items(include_str!("../prototypes/libc.so.6.conf"))
        .map(key)
        .collect();
    let (mut all, mut covered, mut libc, mut libc_covered) = (0, 0, 0, 0);
    for row in items(&demand) {
        let mut cells = row.split('\t');
        let mut cell = || cells.next().expect("four cells");
        let (soname, name) = (cell(), cell());
        let programs: u32 = cell().parse().expect("a number");
        let found = names.get(soname).is_some_and(|names| names.contains(name))
            || soname == "libc.so.6" && curated.contains(name);
        all += programs;
        covered += if found { programs } else { 0 };
        if soname == "libc.so.6" {
            libc += programs;
            libc_covered += if found { programs } else { 0 };
        }
    }
    assert!(covered * 100 >= all * 92, "{covered} of {all}");
    assert!(
        libc_covered * 1000 >= libc * 995,
        "libc: {libc_covered} of {libc}"
    );
}
