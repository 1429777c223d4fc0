//! What does not go together.

use super::*;

/// What a recording cannot do, and what a replay finds missing: one line, and nothing is run.
#[test]
fn what_does_not_go_together() {
    let raw = Raw::new();
    raw.record(&[], &words(mixed(), &[])).expect_code(7);
    let counted = Raw::new();
    counted.record(&["-c"], &words(mixed(), &[])).expect_code(7);
    let mark = raw.0.path().join("mark");
    let touch = [OsString::from(tool("touch")), mark.clone().into()];
    let file = raw.0.path().join("other");
    for options in [
        &["-o", "x"][..],
        &["-a", "3"],
        &["-n", "3"],
        &["--limit", "3"],
        &["-ff"],
        &["--sort", "calls"],
        &["--columns", "calls"],
        &["--summary-json", "x"],
        &["--summary-and-trace"],
        &["--color", "always"],
        &["--output-append"],
    ] {
        let rltrace = Rltrace::new().own_output().arg("--record").arg(&file);
        let refused = rltrace.args(options).run(&touch);
        refused.expect_refusal(1, &["--record"]);
        assert!(!mark.exists() && !file.exists(), "{options:?}");
    }
    let dash = Rltrace::new().own_output().arg("--record").arg("-").run(&touch);
    dash.expect_refusal(1, &["--record -"]);
    let nowhere = Rltrace::new()
        .own_output()
        .arg("--record")
        .arg("/no/such/folder/raw")
        .run(&touch);
    nowhere.expect_refusal(1, &["/no/such/folder/raw", "No such file"]);
    assert!(!mark.exists());
    for options in [
        &["-p", "1"][..],
        &["-f"],
        &["-S"],
        &["-s", "3"],
        &["-A", "3"],
        &["-y"],
        &["-w", "3"],
        &["-x", "main"],
        &["-L"],
        &["-u", "root"],
        &["-E", "A=B"],
        &["--engine", "fast"],
        &["--for", "3"],
        &["true"],
    ] {
        raw.replay(options).expect_refusal(1, &["--replay"]);
    }
    for (options, word) in [
        (&["-t"][..], "no times"),
        (&["-r"], "no times"),
        (&["-T"], "how long"),
        (&["-c"], "how long"),
        (&["-i"], "return addresses"),
    ] {
        raw.replay(options).expect_refusal(1, &[word, "record"]);
    }
    counted.replay(&[]).expect_refusal(1, &["only counted"]);
    for (path, word) in [
        ("/no/such/file", "No such file"),
        ("/", "Is a directory"),
        ("/bin/sh", "no raw trace"),
        ("/dev/null", "cannot read"),
        ("-", "from a file"),
    ] {
        let refused = Rltrace::new().own_output().arg("--replay").arg(path).run(NOTHING);
        refused.expect_refusal(1, &[word]);
    }
    let mut newer = std::fs::read(raw.file()).expect("a file");
    newer[7] += 1;
    std::fs::write(raw.file(), newer).expect("a file");
    raw.replay(&[]).expect_refusal(1, &["version 2"]);
}
