//! Remote system calls, and envoys that make them.

#[path = "../common/mod.rs"]
mod common;
mod killed;

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use arch_abi::{Addr, LANDING_LEN, Landing};
use common::{Untraced, compile, pass, start};
use ptrace_core::{
    AttachReason, Envoy, ExitStatus, NoEnvoy, Options, Session, Signal, Stop, Stopped, Tid, Wait, procfs,
};

const CHECKS_ITSELF: &str = include_str!("../fixtures/checks_itself.c");
const COUNTS_SIGNALS: &str = include_str!("../fixtures/counts_signals.c");

/// A target and the file in which it counts.
struct Target {
    process: Untraced,
    counts: PathBuf,
}

impl Target {
    fn start(name: &str, source: &str, args: &[&str]) -> Self {
        let exe = compile(name, source, &["-D_GNU_SOURCE", "-O1"]);
        let counts = exe.with_extension("counts");
        std::fs::write(&counts, [0; 4096]).unwrap();
        let mut all = vec![counts.to_str().unwrap()];
        all.extend(args);
        let (process, _out) = start(&exe, &all);
        Self { process, counts }
    }

    fn tid(&self) -> Tid {
        self.process.tid()
    }

    fn counts(&self) -> [u64; 4] {
        let file = std::fs::File::open(&self.counts).unwrap();
        let mut words = [[0; 8]; 4];
        file.read_exact_at(words.as_flattened_mut(), 0).unwrap();
        words.map(u64::from_le_bytes)
    }

    /// Waits until each of the first `threads` counts went on: twice, as it may have been about to count.
    fn goes_on(&mut self, threads: usize, what: &str) {
        let before = self.counts();
        loop {
            let ended = self.process.0.try_wait().unwrap();
            assert_eq!(ended, None, "{what}");
            let now = self.counts();
            if (0..threads).all(|i| now[i] >= before[i] + 2) {
                return;
            }
            std::thread::yield_now();
        }
    }

    /// The bytes of the vDSO.
    fn vdso(&self) -> Vec<u8> {
        let maps = procfs::maps(self.tid()).unwrap();
        let vdso = maps.iter().find(|m| m.name == "[vdso]").unwrap();
        let mut bytes = vec![0; usize::try_from(vdso.size()).unwrap()];
        let memory = std::fs::File::open(format!("/proc/{}/mem", self.tid())).unwrap();
        memory.read_exact_at(&mut bytes, vdso.start.get()).unwrap();
        bytes
    }
}

/// A call that tells whether it was made.
fn call(stopped: &Stopped) {
    let nr = u64::try_from(libc::SYS_getpid).unwrap();
    let tgid = i64::from(stopped.tgid().raw());
    assert_eq!(stopped.remote_syscall(nr, [1, 2, 3, 4, 5, 6]).unwrap(), tgid);
}

/// Lets a thread go, with the signal at which it has stopped.
fn leave(stopped: Stopped, stop: Stop) {
    stopped.detach(stop.signal()).unwrap();
}

/// Sends a signal, from another process.
fn send(tid: Tid, signal: &str) {
    let sent = std::process::Command::new("kill")
        .args([signal, &tid.to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// Waits until the process has these threads.
fn wait_for_threads(target: &mut Target, threads: &[Tid], what: &str) {
    while procfs::threads(target.tid()).unwrap() != threads {
        assert_eq!(target.process.0.try_wait().unwrap(), None, "{what}");
        std::thread::yield_now();
    }
}

/// While it is there the program runs, and nobody traces its threads; afterwards there is nothing left.
#[test]
fn an_envoy_stops_nobody() {
    let mut target = Target::start("envoy", CHECKS_ITSELF, &[]);
    target.goes_on(4, "it has begun");
    let threads = procfs::threads(target.tid()).unwrap();
    let vdso = target.vdso();
    for round in 0..20 {
        let envoy = Envoy::to(target.tid()).unwrap();
        let stopped = envoy.stopped();
        assert_eq!(stopped.tgid(), target.tid());
        assert_eq!(procfs::threads(target.tid()).unwrap().len(), threads.len() + 1);
        for &tid in &threads {
            let status = procfs::Status::of(tid).unwrap();
            assert_eq!(status.tracer, 0, "{tid} is left alone");
        }
        target.goes_on(4, "beside an envoy");
        // What it maps is the process'.
        let (read_write, private_anonymous) = (3, 0x22);
        let at = stopped.remote_syscall(9, [0, 4096, read_write, private_anonymous, u64::MAX, 0]);
        let at = Addr::new(at.unwrap().cast_unsigned());
        stopped.memory().write(at, &[round; 64]).unwrap();
        let mut there = [0; 64];
        ptrace_core::Memory::of(target.tid())
            .read_exact(at, &mut there)
            .unwrap();
        assert_eq!(there, [round; 64]);
        assert_eq!(
            stopped.remote_syscall(11, [at.get(), 4096, 0, 0, 0, 0]).unwrap(),
            0
        );
        envoy.recall();
        wait_for_threads(&mut target, &threads, "it has ended");
    }
    target.goes_on(4, "after all");
    assert!(target.vdso() == vdso);
}

/// From a thread that stays stopped: a tracer that leaves.
#[test]
fn an_envoy_from_a_stopped_thread() {
    let mut target = Target::start("envoy_from", CHECKS_ITSELF, &[]);
    target.goes_on(4, "it has begun");
    let threads = procfs::threads(target.tid()).unwrap();
    for _ in 0..10 {
        let mut session = Session::new(Options::new());
        session.seize_process(target.tid()).unwrap();
        let mut held = session.stop_all(target.tid()).unwrap();
        let (last, stop) = held.remove(0);
        for (other, stop) in held {
            leave(other, stop);
        }
        let envoy = Envoy::from(&last).unwrap();
        leave(last, stop);
        target.goes_on(4, "beside an envoy");
        call(envoy.stopped());
        drop(envoy);
        wait_for_threads(&mut target, &threads, "it has ended");
    }
    target.goes_on(4, "after all");
}

#[test]
fn where_no_envoy_can_be() {
    let own = Tid::new(std::process::id().cast_signed());
    let Err(NoEnvoy::Attach(error)) = Envoy::to(own) else {
        panic!("nobody traces himself");
    };
    assert!(matches!(error.reason, AttachReason::Myself), "{error}");

    let mut target = Target::start("envoy_not", CHECKS_ITSELF, &[]);
    target.goes_on(4, "it has begun");
    send(target.tid(), "-STOP");
    let all_stopped = || {
        let threads = procfs::threads(target.tid()).unwrap();
        threads
            .iter()
            .all(|&tid| procfs::Status::of(tid).unwrap().state == 'T')
    };
    while !all_stopped() {
        std::thread::yield_now();
    }
    assert!(matches!(Envoy::to(target.tid()), Err(NoEnvoy::NobodyRuns { .. })));
    send(target.tid(), "-CONT");
    target.goes_on(4, "it was stopped and continued");
}

/// Its process is killed: nothing can be asked any more, and nobody waits for ever.
#[test]
fn an_envoy_dies_with_its_process() {
    let target = Target::start("envoy_dies", CHECKS_ITSELF, &[]);
    let envoy = Envoy::to(target.tid()).unwrap();
    call(envoy.stopped());
    send(target.tid(), "-KILL");
    let error = loop {
        match envoy.stopped().remote_syscall(39, [0; 6]) {
            // It was not killed yet.
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(error.is_death(), "{error}");
    envoy.recall();
}

#[test]
fn the_code_lies_where_it_was_lent() {
    let target = Target::start("lent", CHECKS_ITSELF, &[]);
    let vdso = target.vdso();
    let mut session = Session::new(Options::new());
    session.seize_process(target.tid()).unwrap();
    let mut threads = session.stop_all(target.tid()).unwrap();
    let (stopped, stop) = threads.remove(0);
    for (other, stop) in threads {
        leave(other, stop);
    }
    let (read_exec, private_anonymous) = (5, 0x22);
    let at = stopped.remote_syscall(9, [0, 4096, read_exec, private_anonymous, u64::MAX, 0]);
    let at = Addr::new(at.unwrap().cast_unsigned());
    assert!(!stopped.lend_landing(at, LANDING_LEN - 1));
    assert!(stopped.lend_landing(at, 4096));
    // The call itself tells what lies there: pwrite64 to the file that the fixture opened.
    let len = LANDING_LEN as u64;
    let made = stopped
        .remote_syscall(18, [3, at.get(), len, 1024, 0, 0])
        .unwrap();
    assert_eq!(made, i64::try_from(LANDING_LEN).unwrap());
    let mut code = [0; LANDING_LEN];
    let file = std::fs::File::open(&target.counts).unwrap();
    file.read_exact_at(&mut code, 1024).unwrap();
    assert_eq!(Landing::owner(&code), Some(stopped.tid().raw()));
    stopped.memory().read_exact(at, &mut code).unwrap();
    assert_eq!(code, [0; LANDING_LEN], "zeroed afterwards");
    assert!(target.vdso() == vdso);
    leave(stopped, stop);
}

#[test]
fn signals_that_wait_at_a_fork_stay_pending() {
    let exe = compile(
        "forks_once",
        r"
        #include <signal.h>
        #include <sys/wait.h>
        #include <unistd.h>
        static volatile int came;
        static void on(int s) { came += s; }
        int main(void) {
            signal(SIGUSR1, on); signal(SIGUSR2, on);
            if (fork() == 0) _exit(0);
            while (wait(0) < 0) {}
            return came == SIGUSR1 + SIGUSR2 ? 0 : 1;
        }",
        &[],
    );
    let mut session = Session::new(Options::new().kill_on_exit(true));
    let stopped = common::spawn(&mut session, &exe);
    let tid = stopped.tid();
    stopped.cont(None).unwrap();
    let mut delivered = Vec::new();
    loop {
        match session.wait().unwrap() {
            Wait::Stopped(stopped, stop) => {
                if matches!(stop, Stop::Fork { .. }) {
                    send(tid, "-USR1");
                    send(tid, "-USR2");
                }
                if let Stop::SignalDelivery(signal) = stop {
                    delivered.push(signal);
                }
                call(&stopped);
                pass(stopped, stop);
            }
            Wait::Exited(who, status) if who == tid => break assert_eq!(status, ExitStatus::Exited(0)),
            Wait::Exited(..) => {}
            other => panic!("{other:?}"),
        }
    }
    delivered.retain(|&signal| signal != Signal::SIGCHLD);
    assert_eq!(delivered, [Signal::SIGUSR1, Signal::SIGUSR2]);
}

#[test]
fn nothing_is_left_in_the_vdso_by_a_tracer_that_lives() {
    let mut target = Target::start("clean", CHECKS_ITSELF, &[]);
    let before = target.vdso();
    let mut session = Session::new(Options::new());
    session.seize_process(target.tid()).unwrap();
    for (stopped, stop) in session.stop_all(target.tid()).unwrap() {
        call(&stopped);
        leave(stopped, stop);
    }
    assert!(target.vdso() == before);
    target.goes_on(4, "after the calls");
    assert!(Path::new(&target.counts).exists());
}
