//! A tracer comes to a program that calls all the time, and goes or dies: what every engine has to bear.

use std::io::Write;
use std::process::{ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::fixture::Build;
use crate::hot::{Hot, Machine, runs_on};
use crate::process;
use crate::rltrace::{Background, NOTHING, Rltrace, Traced};
use crate::run::{Running, wait_for};

/// Fails unless calls of `callee` by `fixtures/hot.c` are in the trace, and none that was not made so.
#[track_caller]
pub fn saw_right_calls(traced: &Traced) {
    let mut count = 0_u32;
    for call in traced.trace.calls_of("callee") {
        let args: Option<Vec<i64>> = call.args.split(", ").map(|word| word.parse().ok()).collect();
        // A line that was being written when the tracer was killed is cut.
        let (Some(args), Some(result)) = (args, call.result()) else {
            continue;
        };
        count += 1;
        let right = args.len() == 4
            && args[1] == args[0] + 5000
            && args[2] == 3 * args[0]
            && args[3] == 7
            && result.parse() == Ok(9999 - args[0]);
        traced.assert(right, &format!("no such call was made: {call:?}"));
    }
    traced.assert(count > 0, "calls are seen");
}

/// Lets `step` microseconds more pass in each of `of` cycles: not luck but spread. By the clock, for on a busy machine each yield takes a
/// time slice of another program: thousands of them took minutes.
pub fn spread(cycle: usize, of: usize, step: usize) {
    let time = Duration::from_micros((cycle % of * step) as u64);
    let since = Instant::now();
    while since.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// Attaches and leaves, by two signals in turn.
#[track_caller]
pub fn attach_and_leave(rltrace: &Rltrace, mut target: Hot, cycles: usize) {
    for cycle in 0..cycles {
        let signal = [Signal::SIGINT, Signal::SIGTERM][cycle % 2];
        let mut rltrace = target.attach_by(rltrace);
        rltrace.wait_for("callee(");
        saw_right_calls(&rltrace.end_by(signal));
        target.unharmed(&format!("cycle {cycle}, {signal}"));
    }
    target.ends_well();
}

/// Leaves at any moment of attaching.
#[track_caller]
pub fn leave_at_any_moment(rltrace: &Rltrace, mut target: Hot, cycles: usize) {
    for cycle in 0..cycles {
        let rltrace = target.attach_by(rltrace);
        spread(cycle, 40, 200);
        let traced = rltrace.end_by(Signal::SIGINT);
        target.unharmed(&format!("cycle {cycle}: {}", traced.run.err()));
    }
    target.ends_well();
}

/// When a tracer is killed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kill {
    /// At any moment, of attaching, too.
    AnyTime,
    /// When it has seen a call. While system calls are made in the name of an i386 thread, a kill harms that.
    Attached,
}

/// Kills the tracer; another one finds the target as if none had been there.
#[track_caller]
pub fn kill_the_tracer(rltrace: &Rltrace, mut target: Hot, when: Kill, cycles: usize) {
    for cycle in 0..cycles {
        let mut tracer = target.attach_by(rltrace);
        if cycle % 3 > 0 || when == Kill::Attached {
            tracer.wait_for("callee(");
        }
        spread(cycle, 25, 300);
        let dead = tracer.end_by(Signal::SIGKILL);
        assert_eq!(dead.run.signal(), Some(9));
        target.lives_on(&format!("kill {cycle}"));
        if cycle % 5 == 4 || cycle + 1 == cycles {
            let mut second = target.attach_by(rltrace);
            second.wait_for("callee(");
            saw_right_calls(&second.end_by(Signal::SIGINT));
            target.unharmed(&format!("second tracer {cycle}"));
            target.lives_on(&format!("second tracer {cycle}"));
        }
    }
    target.ends_well();
}

/// Starts a command, and kills its tracer when that has seen a call: the command runs on to its own end.
#[track_caller]
pub fn kill_the_tracer_of_a_command(rltrace: &Rltrace) {
    let program = Hot::program(Machine::X86_64);
    let mut tracer = rltrace.clone().with_input().start(Hot::command(&program));
    let input = tracer.running.stdin();
    tracer.wait_for("callee(");
    let command = process::children(tracer.running.pid())[0];
    tracer.running.signal(Signal::SIGKILL);
    wait_for("the tracer's death", || tracer.running.ended());
    wait_for("the release of the command", || process::held(command).is_empty());
    runs_on(command);
    assert!(
        process::alive(command),
        "the command died\n{}",
        tracer.running.said()
    );
    drop(input);
    wait_for("the command's own end", || !process::alive(command));
    assert_eq!(tracer.running.out_so_far(), "ready\ndone\n");
}

/// Kills the target under the tracer.
#[track_caller]
pub fn kill_the_target(rltrace: &Rltrace, start: impl Fn() -> Hot, cycles: usize) {
    for cycle in 0..cycles {
        let target = start();
        let mut rltrace = target.attach_by(rltrace);
        rltrace.wait_for("callee(");
        spread(cycle, cycles, 200);
        target.signal(Signal::SIGKILL);
        let traced = rltrace.finish();
        traced.assert(
            traced.trace.text.contains("+++ killed by SIGKILL +++"),
            "the end is in the trace",
        );
        traced.assert(
            !traced.run.err().contains("panicked"),
            "the tracer takes it as it is",
        );
        saw_right_calls(&traced);
        assert_eq!(target.finish().signal(), Some(9));
    }
}

/// `fixtures/stays_inside.c`, or a program that does as that, while it runs: it goes into calls of a library and comes out of them when it is told to.
#[derive(Debug)]
pub struct Inside {
    target: Running,
    /// What it calls.
    function: &'static str,
    input: ChildStdin,
    rounds: usize,
}

impl Inside {
    /// The ways in which it can write over the memory that it shares, without touching its own.
    pub const WAYS: [&str; 5] = ["all", "zero", "ones", "counters", "records"];

    /// Starts it. `how`: it writes over what it shares with the tracer, in that way, when it is in.
    #[track_caller]
    pub fn start(how: Option<&str>) -> Self {
        let library = Build::library("flow.c").flags(["-O1", "-fexceptions"]).build();
        let program = Build::program("stays_inside.c").flags(["-O1"]);
        let program = program.uses(&library).build();
        Self::of(Command::new(program).args(how), "through")
    }

    /// A program that calls `function`.
    #[track_caller]
    pub fn of(program: &mut Command, function: &'static str) -> Self {
        let mut target = Running::start(program.stdin(Stdio::piped()));
        let input = target.stdin().expect("a pipe");
        target.wait_for_out("ready");
        Self {
            target,
            function,
            input,
            rounds: 0,
        }
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> nix::unistd::Pid {
        self.target.pid()
    }

    /// A tracer that has come to it, and meets the calls of its function.
    #[track_caller]
    pub fn attach_by(&self, rltrace: &Rltrace) -> Background {
        let rltrace = rltrace.clone().filter(self.function).arg("-D").arg("debug");
        let rltrace = rltrace.pid(self.target.pid()).start(NOTHING);
        wait_for("the attachment", || {
            rltrace.running.err_so_far().contains("attached")
        });
        rltrace
    }

    /// It goes into its calls.
    #[track_caller]
    pub fn go_in(&mut self) {
        self.rounds += 1;
        self.say("inside");
    }

    /// It comes out of them.
    #[track_caller]
    pub fn come_out(&mut self) {
        self.say("back");
    }

    #[track_caller]
    fn say(&mut self, answer: &str) {
        self.input.write_all(b"\n").expect("a line");
        wait_for(answer, || {
            self.target.out_so_far().matches(answer).count() == self.rounds || self.target.ended()
        });
        assert!(!self.target.ended(), "{}", self.target.said());
    }

    /// It ends, all is as it should be.
    #[track_caller]
    pub fn ends_well(self) {
        drop(self.input);
        assert!(self.target.finish().expect_success().out().ends_with("done\n"));
    }
}

/// Leaves while the program is in recorded calls, which return when the tracer is gone. Gives what each visit has told.
#[track_caller]
pub fn leave_inside(rltrace: &Rltrace, how: Option<&str>, visits: usize) -> Vec<Traced> {
    let mut target = Inside::start(how);
    let visit = |_| {
        let tracer = target.attach_by(rltrace);
        target.go_in();
        let traced = tracer.end_by(Signal::SIGINT);
        traced.expect_code(0);
        traced.assert(
            traced.run.err().contains("recorded inside the program"),
            "it was recorded",
        );
        target.come_out();
        traced
    };
    let told = (0..visits).map(visit).collect();
    target.ends_well();
    told
}
