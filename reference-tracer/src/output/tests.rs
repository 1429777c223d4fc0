use super::*;
use std::fs;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex};

fn file(path: &std::path::Path, append: bool) -> Target {
    Target::File {
        path: path.to_owned(),
        append,
    }
}

/// Collects what would be said on standard error.
fn heard(output: Output) -> (Output, Arc<Mutex<Vec<String>>>) {
    let said = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&said);
    (
        output.on_error(move |error| listener.lock().unwrap().push(error.to_string())),
        said,
    )
}

fn line(output: &mut Output, text: &str) {
    output.buffer().extend_from_slice(text.as_bytes());
    output.buffer().push(b'\n');
    output.end_line();
}

#[test]
fn a_file_is_truncated_or_added_to() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trace");
    for (append, expected) in [(false, "a\n"), (false, "a\n"), (true, "a\na\n")] {
        let mut output = Output::open(&file(&path, append)).unwrap();
        line(&mut output, "a");
        output.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    }
}

#[test]
fn text_is_kept_until_it_is_much_or_the_tracer_idles() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trace");
    let mut output = Output::open(&file(&path, false)).unwrap();
    let written = || fs::metadata(&path).unwrap().len();
    line(&mut output, "one");
    assert_eq!(written(), 0);
    output.buffer().extend_from_slice("sleep(10".as_bytes());
    output.flush_idle();
    assert_eq!(written(), 12);
    line(&mut output, &"x".repeat(FULL));
    assert_eq!(written(), 12 + FULL as u64 + 1);
    line(&mut output, "end");
    drop(output);
    assert!(
        fs::read_to_string(&path).unwrap().ends_with("end\n"),
        "a drop writes, too"
    );
}

#[test]
fn a_long_line_does_not_keep_its_memory() {
    let mut output = Output::open(&file("/dev/null".as_ref(), false)).unwrap();
    line(&mut output, &"x".repeat(64 * FULL));
    assert!(output.buffer().capacity() <= KEEP);
}

#[test]
fn a_full_disk_is_told_once_and_survived() {
    let (mut output, said) = heard(Output::open(&file("/dev/full".as_ref(), false)).unwrap());
    for _ in 0..3 {
        line(&mut output, "lost");
        output.flush_idle();
    }
    assert!(matches!(output.broken(), Some(OutputError::Write { .. })));
    assert!(output.buffer().is_empty(), "what cannot be written is not kept");
    assert!(output.finish().is_err());
    let expected = "cannot write the trace to '/dev/full': No space left on device; the rest of it is lost";
    assert_eq!(*said.lock().unwrap(), [expected]);
}

#[test]
fn files_that_cannot_be_opened_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().display().to_string();
    for (path, reason) in [("", "Is a directory"), ("/none/x", "No such file or directory")] {
        let error = Output::open(&file(format!("{at}{path}").as_ref(), false)).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("cannot write to '{at}{path}': {reason}")
        );
    }
}

#[test]
fn a_command_gets_it_all_and_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sorted");
    let command = format!("|sort > {}", path.display());
    let mut output = Output::open(&Target::parse(OsStr::new(&command), false)).unwrap();
    line(&mut output, "b");
    line(&mut output, "a");
    output.finish().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "a\nb\n");
}

#[test]
fn a_command_is_not_ended_by_a_keyboard_signal() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mask");
    let command = format!(
        "|grep SigIgn /proc/self/status > {}; cat >/dev/null",
        path.display()
    );
    Output::open(&Target::parse(OsStr::new(&command), false))
        .unwrap()
        .finish()
        .unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let ignored = u64::from_str_radix(text.split_whitespace().last().unwrap(), 16).unwrap();
    // SIGINT is 2, SIGQUIT 3, SIGPIPE 13.
    assert_eq!(ignored & 0b110, 0b110, "{text}");
    assert_eq!(ignored & (1 << 12), 0, "{text}");
}

#[test]
fn a_command_that_fails_or_goes_early_is_told() {
    let (output, said) = heard(Output::open(&Target::Command("cat >/dev/null; exit 7".into())).unwrap());
    assert!(matches!(output.finish(), Err(OutputError::Command { .. })));
    assert_eq!(
        *said.lock().unwrap(),
        ["'|cat >/dev/null; exit 7' ended with exit status: 7"]
    );

    let (mut output, said) = heard(Output::open(&Target::Command("exec <&-; exit 0".into())).unwrap());
    // The pipe's buffer takes some until the reader is gone; then it breaks.
    while output.broken().is_none() {
        line(&mut output, "x");
        output.flush_idle();
    }
    drop(output);
    let expected = "cannot write the trace to '|exec <&-; exit 0': Broken pipe; the rest of it is lost";
    assert_eq!(*said.lock().unwrap(), [expected]);
}

#[test]
fn a_non_blocking_descriptor_loses_nothing() {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let (mut reader, writer) = std::io::pipe().unwrap();
    fcntl(writer.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&writer));
    let mut output = Output::open(&file(path.as_ref(), true)).unwrap();
    // Opening through /proc makes a description of its own: set it there, too.
    let sink = output.sink.as_ref().unwrap();
    sink.set_nonblocking();
    drop(writer);
    let collector = std::thread::spawn(move || {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).map(|_| all)
    });
    line(&mut output, &"y".repeat(16 * FULL));
    output.finish().unwrap();
    assert_eq!(collector.join().unwrap().unwrap().len(), 16 * FULL + 1);
}

#[test]
fn a_path_and_a_command_are_told_apart() {
    assert_eq!(
        Target::parse(OsStr::new("|less"), false),
        Target::Command("less".into())
    );
    assert_eq!(Target::parse(OsStr::new("a|b"), true), file("a|b".as_ref(), true));
}

#[test]
fn each_process_has_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("t");
    let mut outputs = PerProcess::new(base.clone(), false);
    for (pid, text) in [(7, "a"), (8, "b"), (7, "c")] {
        line(outputs.of(pid).unwrap(), text);
    }
    outputs.close(7);
    line(outputs.of(7).unwrap(), "the id came again");
    outputs.finish().unwrap();
    let read = |pid| fs::read_to_string(format!("{}.{pid}", base.display())).unwrap();
    assert_eq!(read(7), "a\nc\nthe id came again\n");
    assert_eq!(read(8), "b\n");
    let mut nowhere = PerProcess::new(dir.path().join("none/t"), false);
    assert!(nowhere.of(1).unwrap_err().to_string().contains("none/t.1"));
}

#[test]
fn what_comes_fast_is_written_ahead_in_its_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trace");
    let mut output = Output::open(&file(&path, false)).unwrap();
    let (mut expected, mut number) = (String::new(), 0_u64);
    let mut some = |output: &mut Output, many: usize| {
        for _ in 0..many {
            number += 1;
            let text = format!("{number} {}", "x".repeat(usize::try_from(number % 97).unwrap()));
            expected.push_str(&text);
            expected.push('\n');
            line(output, &text);
        }
    };
    some(&mut output, 10_000);
    // However slow this machine is.
    output.pace = None;
    output.write_ahead();
    assert!(output.ahead.is_some());
    for many in [1, 100_000, 10, 50_000] {
        some(&mut output, many);
        output.flush_idle();
    }
    some(&mut output, 20_000);
    output.finish().unwrap();
    assert!(fs::read_to_string(&path).unwrap() == expected);
}

#[test]
fn a_thread_pays_for_fast_text_in_files_only() {
    let mut pace = Pace::new();
    let fast = std::iter::from_fn(|| Some(pace.is_fast()))
        .take(1_000)
        .collect::<Vec<_>>();
    assert!(!fast[0] && fast.contains(&true));
    let (_reader, writer) = std::io::pipe().unwrap();
    let pipe = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&writer));
    for path in ["/dev/null", &pipe] {
        let mut output = Output::open(&file(path.as_ref(), true)).unwrap();
        output.write_ahead();
        assert!(output.ahead.is_none(), "{path}");
    }
}

#[test]
fn a_file_that_cannot_be_written_ahead_is_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trace");
    fs::write(&path, "").unwrap();
    let (mut output, said) = heard(Output::open(&file(&path, true)).unwrap());
    output.pace = None;
    output.ahead = Some(Ahead::start(fs::File::open(&path).unwrap()).unwrap());
    // The second that is handed over hears of the first.
    for _ in 0..3 * KEEP / FULL {
        line(&mut output, &"x".repeat(FULL));
    }
    assert!(matches!(output.broken(), Some(OutputError::Write { .. })));
    assert!(output.finish().is_err());
    let expected = format!(
        "cannot write the trace to '{}': Bad file number; the rest of it is lost",
        path.display()
    );
    assert_eq!(*said.lock().unwrap(), [expected]);
    assert_eq!(fs::read(&path).unwrap(), b"");
}
