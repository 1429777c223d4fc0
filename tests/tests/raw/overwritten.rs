//! Rings that were written over, and calls that are under way when the tracer leaves.

use rltrace_tests::visits::{Inside, leave_inside};

use super::*;

/// Calls that return when the tracer is gone find the code that they return through, though nobody has looked at their records.
#[test]
fn leaving_inside_recorded_calls() {
    let raw = Raw::new();
    let rltrace = Rltrace::new().own_output().arg("--record").arg(raw.file());
    for _ in 0..3 {
        let [traced] = leave_inside(&rltrace, None, 1).try_into().expect("one visit");
        assert!(
            !traced.run.err().contains("recording code stays"),
            "{}",
            traced.tail()
        );
        let replayed = raw.replay(&[]);
        replayed.expect_code(0);
        let open = replayed.trace.calls_of("through").count();
        replayed.assert(open == 5, "five calls, one within the other");
    }
}

/// A program that writes over the rings: it goes on, what was read before can be shown, and the damage is told once, by the recording and by
/// the replay.
#[test]
fn rings_that_are_written_over() {
    let program = calling("scribbles.c");
    for how in Inside::WAYS {
        let raw = Raw::new();
        let run = raw.record(&["-e", "callee", "--ring", "64K"], &words(&program, &["1", how]));
        run.expect_code(0);
        run.assert(
            run.run.out() == "1 found\ndone\n",
            "the program has done its work",
        );
        let told = run.own_words().0;
        run.assert(
            told.len() == 1 && told[0].contains("its records were overwritten"),
            &format!("{how}: it is told once"),
        );
        let replayed = raw.replay(&[]);
        replayed.expect_code(0);
        replayed.assert(
            replayed.own_words().0 == told,
            &format!("{how}: it is told again"),
        );
        let right = "callee(0, 5000, 0, 7)";
        replayed.assert(replayed.trace.text.contains(right), "there are calls");
        replayed.assert(replayed.trace.exits().len() == 1, "the program's end is told");
    }
}

/// The same while the program stays in calls whose records are lost, and the tracer leaves it there.
#[test]
fn leaving_inside_calls_whose_records_are_lost() {
    for how in Inside::WAYS {
        let raw = Raw::new();
        let rltrace = Rltrace::new().own_output().arg("--record").arg(raw.file());
        for traced in leave_inside(&rltrace, Some(how), 2) {
            let told = traced.own_words().0;
            let times = |line| told.iter().filter(|told| told.contains(line)).count();
            let overwritten = times("its records were overwritten");
            // Records that were read before they were written over are not lost, and what is no record is seen by the replay.
            let least = usize::from(how != "records");
            traced.assert(
                (least..=1).contains(&overwritten) && times("recording code stays in it") <= 1,
                &format!("{how}: told {overwritten} times"),
            );
        }
        raw.replay(&[]).expect_code(0);
    }
}
