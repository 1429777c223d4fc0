//! Every call and every return of every thread, none twice.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use rltrace_tests::{Build, Rltrace, Traced};

fn program(flags: &[&str]) -> PathBuf {
    Build::caller("many_threads.c")
        .flags(["-O1"])
        .flags(flags)
        .build()
}

/// Each thread's calls are all there, once, with their results.
#[track_caller]
fn complete(traced: &Traced, threads: i64, calls: i64) {
    traced.expect_code(0);
    traced.assert(
        traced.run.out() == "done\n",
        "every result was right in the program",
    );
    let mut seen: HashMap<&str, u32> = HashMap::new();
    let mut results = HashMap::new();
    for call in traced.trace.calls_of("callee") {
        *seen.entry(&call.args).or_default() += 1;
        results.insert(call.args.as_str(), call.result());
    }
    for t in 0..threads {
        for i in 0..calls {
            let (low, high) = (i % 10000, i / 10000);
            let args = format!("{t}, {low}, {high}, 7");
            let result = 9999 - t + (low - t - 5000) + (high - 3 * t);
            let times = seen.get(args.as_str()).copied().unwrap_or(0);
            traced.assert(
                times == 1,
                &format!("callee({args}) is in the trace {times} times"),
            );
            let said = results[args.as_str()].map(str::to_owned);
            let right = said.as_deref().is_some_and(|said| is_number(said, result));
            traced.assert(
                right,
                &format!("callee({args}) returned {result}, the trace says {said:?}"),
            );
        }
    }
}

/// A number as a trace writes it: decimal within ±10000, otherwise hexadecimal.
fn is_number(text: &str, number: i64) -> bool {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).is_ok_and(|said| said == number.cast_unsigned()),
        None => text.parse() == Ok(number),
    }
}

/// `-f` names the thread on each line, so that a return can be given to its call.
#[test]
fn eight_threads() {
    let program = program(&[]);
    let words = [
        program.as_os_str(),
        "lasting".as_ref(),
        "8".as_ref(),
        "20000".as_ref(),
    ];
    complete(&Rltrace::new().follow().filter("callee").run(words), 8, 20_000);
}

/// Calls through registers and slots are caught in the function itself, which all threads share.
#[test]
fn eight_threads_without_a_plt() {
    let program = program(&["-O2", "-fno-plt"]);
    let words = [
        program.as_os_str(),
        "lasting".as_ref(),
        "8".as_ref(),
        "2000".as_ref(),
    ];
    complete(&Rltrace::new().follow().filter("callee").run(words), 8, 2000);
}

#[test]
fn short_lived_threads() {
    let program = program(&[]);
    for rltrace in [Rltrace::new().follow(), Rltrace::new().follow().filter("callee")] {
        complete(
            &rltrace.run([program.as_os_str(), "short".as_ref(), "200".as_ref()]),
            200,
            10,
        );
    }
}

/// Threads are followed without `-f` too; what is then not named is which of two threads a return belongs to.
#[test]
fn threads_without_a_name() {
    let program = program(&[]);
    let traced = Rltrace::new()
        .filter("callee")
        .run([program.as_os_str(), "short".as_ref(), "200".as_ref()]);
    traced.expect_code(0);
    let returned = traced
        .trace
        .calls_of("callee")
        .filter(|call| call.result().is_some())
        .count();
    traced.assert(returned == 2000, &format!("{returned} calls returned of 2000"));
    let different: HashSet<&str> = traced
        .trace
        .calls_of("callee")
        .map(|call| call.args.as_str())
        .collect();
    traced.assert(different.len() == 2000, "each call once");
}
