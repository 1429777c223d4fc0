//! Attaching to running programs, and leaving them as they were.
//!
//! The number of cycles is small here; the full run is
//! `RLTRACE_CYCLES=1000 cargo test -p rltrace-tests --test attach -- cycles`.

use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use rltrace_tests::visits::{attach_and_leave, leave_at_any_moment, saw_right_calls, spread};
use rltrace_tests::{
    Build, Hot, Machine, NOTHING, Rltrace, Running, cycles, process, run, runs_on, wait_for,
};

#[test]
fn cycles_of_attaching_and_leaving() {
    attach_and_leave(&Rltrace::new(), Hot::start(), cycles(40));
}

#[test]
fn cycles_of_attaching_and_leaving_i386() {
    attach_and_leave(&Rltrace::new(), Hot::start_on(Machine::I386), cycles(40));
}

/// The signal may come at any moment of attaching.
#[test]
fn leaving_at_any_moment() {
    leave_at_any_moment(&Rltrace::new(), Hot::start(), cycles(40));
}

#[test]
fn every_signal_that_ends_a_tracer() {
    let mut target = Hot::start();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
        let mut rltrace = target.attach();
        rltrace.wait_for("callee(");
        saw_right_calls(&rltrace.end_by(signal));
        target.unharmed(signal.as_str());
    }
    target.ends_well();
}

#[test]
fn a_second_interrupt_makes_nothing_worse() {
    let mut target = Hot::start();
    for _ in 0..cycles(10) {
        let mut rltrace = target.attach();
        rltrace.wait_for("callee(");
        for _ in 0..5 {
            if !rltrace.running.ended() {
                rltrace.running.signal(Signal::SIGINT);
            }
        }
        rltrace.finish();
        target.unharmed("five interrupts");
    }
    target.ends_well();
}

#[test]
fn a_reader_that_goes_away() {
    let mut target = Hot::start();
    let binary = rltrace_tests::rltrace_binary().display();
    let script = format!(
        "{binary} -e callee -p {} 2>&1 | head -n 20 >/dev/null",
        target.pid()
    );
    run(Command::new("sh").args(["-c", &script]));
    target.unharmed("a broken pipe");
    target.ends_well();
}

/// A pipe that is open for reading, and never read.
struct Unread {
    directory: tempfile::TempDir,
    _reader: std::fs::File,
}

impl Unread {
    fn new() -> Self {
        Self::named("fifo")
    }

    fn named(name: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(name);
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("mkfifo");
        // fifo(7): opened for both, it does not wait for a writer.
        let reader = std::fs::File::options().read(true).write(true).open(path);
        Self {
            directory,
            _reader: reader.expect("the fifo"),
        }
    }

    /// `rltrace` that writes to it.
    fn rltrace(&self) -> Rltrace {
        let path = self.directory.path().join("fifo");
        Rltrace::new().own_output().arg("-o").arg(path).filter("callee")
    }
}

/// Waits until `rltrace` sleeps in write(2) (number 1 in `asm/unistd_64.h`).
#[track_caller]
fn wait_for_a_blocked_write(rltrace: &mut Running) {
    let file = format!("/proc/{}/syscall", rltrace.pid());
    wait_for("a write that blocks", || {
        std::fs::read_to_string(&file).is_ok_and(|text| text.starts_with("1 "))
    });
}

#[test]
fn a_reader_that_never_reads() {
    let mut target = Hot::start();
    let unread = Unread::new();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut rltrace = unread.rltrace().pid(target.pid()).start(NOTHING);
        wait_for_a_blocked_write(&mut rltrace.running);
        let traced = rltrace.end_by(signal);
        traced.expect_refusal(1, &["fifo", "nobody reads", "lost"]);
        target.unharmed(signal.as_str());
    }
    target.ends_well();
}

/// The files of single processes are no other: writes to them end when the tracer is to leave.
#[test]
fn a_file_of_a_process_that_nobody_reads() {
    let mut target = Hot::start();
    let unread = Unread::named(&format!("trace.{}", target.pid()));
    let mut rltrace = Rltrace::new()
        .own_output()
        .arg("-ff")
        .arg("-o")
        .arg(unread.directory.path().join("trace"))
        .filter("callee")
        .pid(target.pid())
        .start(NOTHING);
    wait_for_a_blocked_write(&mut rltrace.running);
    let traced = rltrace.end_by(Signal::SIGINT);
    traced.expect_refusal(1, &["trace.", "nobody reads", "lost"]);
    target.unharmed("Ctrl-C");
    target.ends_well();
}

#[test]
fn a_command_whose_trace_nobody_reads() {
    let program = Hot::program(Machine::X86_64);
    let unread = Unread::new();
    let rltrace = unread.rltrace().with_input();
    let mut rltrace = rltrace.start(Hot::command(&program));
    let input = rltrace.running.stdin();
    wait_for_a_blocked_write(&mut rltrace.running);
    let command = process::children(rltrace.running.pid())[0];
    rltrace.running.signal(Signal::SIGINT);
    wait_for("the release of the command", || process::held(command).is_empty());
    runs_on(command);
    assert!(process::alive(command), "{}", rltrace.running.said());
    drop(input);
    wait_for("the command's own end", || !process::alive(command));
    let traced = rltrace.finish();
    traced.assert(traced.run.out() == "ready\ndone\n", "the command came to its end");
    traced.expect_code(1);
}

#[test]
fn threads_born_while_attaching() {
    let program = Build::caller("many_threads.c").flags(["-O1"]).build();
    for _ in 0..cycles(10) {
        let mut target = Running::start(Command::new(&program).args(["short", "20000"]));
        wait_for("its threads", || {
            process::threads(target.pid()).len() > 1 || target.ended()
        });
        let rltrace = Rltrace::new().filter("callee").ends_of_trace();
        let mut rltrace = rltrace.pid(target.pid()).start(NOTHING);
        rltrace.wait_for("callee(");
        rltrace.end_by(Signal::SIGINT);
        assert_eq!(target.finish().expect_success().out(), "done\n");
    }
}

/// What was looked at while the program ran is not so any more when it is stopped, or is about to change when it is left.
fn attach_while_it_changes(words: &[&std::ffi::OsStr]) {
    for engine in ["trap", "fast"] {
        let mut target = Running::start(Command::new(words[0]).args(&words[1..]).stdin(Stdio::piped()));
        target.wait_for_out("ready");
        for cycle in 0..cycles(15) {
            let rltrace = Rltrace::new().engine(engine).filter("callee").ends_of_trace();
            let mut rltrace = rltrace.pid(target.pid()).start(NOTHING);
            if cycle % 3 > 0 {
                rltrace.wait_for("callee(");
            }
            spread(cycle, 15, 300);
            let traced = rltrace.end_by(Signal::SIGINT);
            let what = format!("{engine} {cycle}\n{}", traced.tail());
            traced.assert(!traced.run.err().contains("panicked"), "the tracer is well");
            assert!(!target.ended(), "{what}: the target died\n{}", target.said());
            let held = process::held(target.pid());
            assert!(
                held.is_empty(),
                "{what}: threads left stopped or traced: {held:?}"
            );
        }
        assert_eq!(target.finish().expect_success().out(), "ready\ndone\n");
    }
}

fn changes() -> std::path::PathBuf {
    Build::caller("changes.c").flags(["-O1"]).build()
}

#[test]
fn a_target_that_opens_and_closes_plugins() {
    let library = Build::library("callee.c").build();
    let plugin = |number: u32| {
        let build = Build::library("plugin.c").named(&format!("libplugin{number}.so"));
        build
            .flags([&format!("-DPLUGIN={number}")])
            .uses(&library)
            .build()
    };
    let (program, one, other) = (changes(), plugin(1), plugin(2));
    attach_while_it_changes(&[
        program.as_os_str(),
        "plugins".as_ref(),
        one.as_os_str(),
        other.as_os_str(),
    ]);
}

#[test]
fn a_target_that_executes_itself() {
    let program = changes();
    attach_while_it_changes(&[program.as_os_str(), "exec".as_ref(), "start".as_ref()]);
}

#[test]
fn two_targets_and_a_command() {
    let mut targets = [Hot::start(), Hot::start()];
    let program = Build::caller("thousand.c").flags(["-O1"]).build();
    let pids = targets.each_ref().map(|target| target.pid());
    let rltrace = Rltrace::new().filter("callee").ends_of_trace();
    let mut rltrace = rltrace.pid(pids[0]).pid(pids[1]).start([&program]);
    rltrace.wait_for("callee(999, 5999, 2997, 7)");
    for pid in pids {
        // All but the first thread call.
        let thread = process::threads(pid)
            .into_iter()
            .find(|thread| thread.tid != pid.as_raw());
        rltrace.wait_for(&format!("{} ", thread.expect("it has more").tid));
    }
    rltrace.running.wait_for_out("callee(999, 5999, 2997, 7)");
    let traced = rltrace.end_by(Signal::SIGINT);
    assert_eq!(
        traced.run.out().lines().count(),
        1000,
        "the command did all it had to do"
    );
    for target in &mut targets {
        target.unharmed("one of two");
    }
    targets.into_iter().for_each(Hot::ends_well);
}

#[test]
fn a_target_that_sleeps_in_a_system_call() {
    let mut cat = Running::start(Command::new("cat").stdin(Stdio::piped()));
    let pid = cat.pid();
    wait_for("cat in read", || {
        process::status_field(pid, "State").is_some_and(|state| state.starts_with('S'))
    });
    let rltrace = Rltrace::new().pid(pid).start(NOTHING);
    wait_for("the attachment", || {
        process::held(pid)
            .first()
            .is_some_and(|thread| thread.tracer != 0)
    });
    rltrace.end_by(Signal::SIGINT);
    assert!(!cat.ended() && process::held(pid).is_empty());
    cat.finish().expect_success();
}

#[test]
fn a_target_that_is_stopped() {
    let mut target = Hot::start();
    target.signal(Signal::SIGSTOP);
    wait_for("the stop", || process::held(target.pid()).len() == 5);
    let rltrace = target.attach();
    wait_for("the attachment", || {
        process::held(target.pid())
            .iter()
            .all(|thread| thread.tracer != 0)
    });
    rltrace.end_by(Signal::SIGINT);
    let held = process::held(target.pid());
    assert!(
        held.len() == 5
            && held
                .iter()
                .all(|thread| thread.state == 'T' && thread.tracer == 0),
        "{held:?}"
    );
    target.signal(Signal::SIGCONT);
    wait_for("the continuation", || process::held(target.pid()).is_empty());
    target.unharmed("stopped and continued");
    target.ends_well();
}

#[test]
fn a_target_that_ends_while_attached() {
    let target = Hot::start();
    let mut rltrace = target.attach();
    rltrace.wait_for("callee(");
    target.ends_well();
    let traced = rltrace.finish();
    saw_right_calls(&traced);
    traced.assert(
        traced.trace.text.contains("+++ exited (status 0) +++"),
        "the end is in the trace",
    );
}

#[test]
fn no_such_process() {
    let max: String = std::fs::read_to_string("/proc/sys/kernel/pid_max")
        .expect("pid_max")
        .trim()
        .to_owned();
    Rltrace::new()
        .pid(&max)
        .run(NOTHING)
        .expect_refusal(1, &[&max, "o such process"]);
}

#[test]
fn pids_that_are_none() {
    for pid in ["0", "-1", "99999999999999"] {
        let traced = Rltrace::new().arg(format!("-p{pid}")).run(NOTHING);
        traced.expect_refusal(1, &[pid]);
    }
}

#[test]
fn a_zombie() {
    let mut sleeper = Running::start(Command::new("cat").stdin(Stdio::piped()));
    drop(sleeper.stdin());
    let pid = sleeper.pid();
    wait_for("the end", || {
        process::status_field(pid, "State").is_some_and(|state| state.starts_with('Z'))
    });
    let traced = Rltrace::new().pid(pid).run(NOTHING);
    traced.expect_refusal(1, &[&pid.to_string(), "zombie"]);
    sleeper.finish();
}

#[test]
fn a_kernel_thread() {
    let kthreadd = Pid::from_raw(2);
    let name = process::status_field(kthreadd, "Name");
    assert_eq!(
        name.as_deref(),
        Some("kthreadd"),
        "this test needs to see the kernel's threads"
    );
    let traced = Rltrace::new().pid(kthreadd).run(NOTHING);
    traced.expect_refusal(1, &["2", "kernel"]);
}

#[test]
fn itself_and_its_ancestors() {
    let binary = rltrace_tests::rltrace_binary();
    let script = format!("exec {} -p $$", binary.display());
    let refused = run(Command::new("sh").args(["-c", &script]));
    assert_eq!(refused.code(), 1, "{}", refused.both());
    assert!(
        refused.err().starts_with("rltrace: ") && refused.err().contains("itself"),
        "{}",
        refused.both()
    );
    let traced = Rltrace::new().pid(Pid::this()).run(NOTHING);
    traced.expect_refusal(1, &[&Pid::this().to_string(), "ancestor"]);
}

#[test]
fn a_bad_pid_does_not_keep_the_others() {
    let mut target = Hot::start();
    let strace = target.under_strace();
    let mut other = Hot::start();
    let mut rltrace = Rltrace::new()
        .filter("callee")
        .ends_of_trace()
        .pid(target.pid())
        .pid(other.pid())
        .start(NOTHING);
    rltrace.wait_for("callee(");
    let traced = rltrace.end_by(Signal::SIGINT);
    let pids = [target.pid().to_string(), strace.pid().to_string()];
    traced.assert(
        pids.iter().all(|pid| traced.run.err().contains(pid)),
        "who traces it is named",
    );
    saw_right_calls(&traced);
    other.unharmed("beside a bad pid");
    strace.signal(Signal::SIGINT);
    strace.finish();
    target.unharmed("after strace");
    target.ends_well();
    other.ends_well();
}

/// A file that was deleted or replaced while the program runs: its calls are those of what is mapped.
#[test]
fn a_program_whose_file_is_gone() {
    let directory = tempfile::tempdir().expect("a directory");
    let copy = directory.path().join("hot");
    for replacement in [None, Some(Path::new("/bin/true"))] {
        std::fs::copy(Hot::program(Machine::X86_64), &copy).expect("copied");
        let mut target = Hot::start_file(&copy);
        std::fs::remove_file(&copy).expect("removed");
        if let Some(other) = replacement {
            std::fs::copy(other, &copy).expect("replaced");
        }
        let mut rltrace = target.attach();
        rltrace.wait_for("callee(");
        saw_right_calls(&rltrace.end_by(Signal::SIGINT));
        target.unharmed("file gone");
        target.ends_well();
    }
}
