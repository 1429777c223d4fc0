//! For how long a program stands still when a tracer comes and goes: as it feels that, and as the tracer sees it.

use crate::error::{self, Error};
use crate::process::{Line, STDERR, STDOUT, pid};
use crate::recording::{Place, clean, size};
use nix::sys::signal::{Signal, kill};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// For how long a program of four busy threads stood still, milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Standstill {
    /// None of its threads went on, when nothing happened: what the scheduler alone does.
    pub before: f64,
    /// None of its threads went on, when the tracer came.
    pub attach: f64,
    /// None of its threads went on, when it went.
    pub leave: f64,
    /// For how long the tracer held them when it came.
    pub attach_held: Held,
    /// And when it went.
    pub leave_held: Held,
}

/// From the tracer's first request to stop until it had let threads go, milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// All but one.
    pub most: f64,
    /// The last one.
    pub last: f64,
}

/// How often a thread reads the clock for each call that it makes: a few microseconds, so that no thread waits for its ring.
const READS: &str = "100";

/// A program of four threads that read the clock all the time and call now and then, and tell for how long none of them went on.
struct Busy(Child, BufReader<ChildStdout>);

impl Busy {
    fn start(place: &Place) -> Result<Busy, Error> {
        let program = place.fixtures.path("gaps");
        let mut command = Command::new(&program);
        command
            .args(["4", READS])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().map_err(error::file(&program))?;
        let missing = || error::file(&program)(std::io::ErrorKind::BrokenPipe.into());
        let out = child.stdout.take().ok_or_else(missing)?;
        let mut busy = Busy(child, BufReader::new(out));
        busy.line()?;
        Ok(busy)
    }

    fn line(&mut self) -> Result<String, Error> {
        let mut line = String::new();
        self.1.read_line(&mut line).map_err(error::file("gaps"))?;
        Ok(line)
    }

    /// The longest standstill since this was asked before, milliseconds.
    fn longest(&mut self) -> Result<f64, Error> {
        if let Some(input) = &mut self.0.stdin {
            input.write_all(b"\n").map_err(error::file("gaps"))?;
        }
        let line = self.line()?;
        let nanoseconds: f64 = line.trim().parse().map_err(|_| Error::Unexpected {
            what: "the program's answer",
            text: line,
        })?;
        Ok(nanoseconds / 1e6)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Attaches to a busy program, and leaves it.
///
/// # Errors
///
/// Those of starting programs; [`Error::Unexpected`] where one does not do what it should.
pub fn standstill(place: &Place, options: &[&str]) -> Result<Standstill, Error> {
    clean(&place.scratch)?;
    let mut busy = Busy::start(place)?;
    busy.longest()?;
    std::thread::sleep(Duration::from_millis(300));
    let before = busy.longest()?;
    let trace = place.scratch.join("trace");
    let line = Line::new([&place.rltrace])
        .and(options.iter().copied())
        .and(["-D", "debug", "-c", "-o"])
        .and([&trace])
        .and(["-p".to_owned(), busy.0.id().to_string()]);
    let mut tool = line.start(&place.scratch)?;
    std::thread::sleep(Duration::from_millis(300));
    let attach = busy.longest()?;
    kill(pid(&tool), Signal::SIGINT).map_err(error::request("kill"))?;
    let ended = tool.wait().map_err(error::file(STDOUT))?;
    let leave = busy.longest()?;
    let said = place.scratch.join(STDERR);
    let said = fs::read_to_string(&said).map_err(error::file(&said))?;
    match (held(&said, "attach"), held(&said, "leave")) {
        (Some(attach_held), Some(leave_held)) if ended.success() && size(&trace) > 0 => Ok(Standstill {
            before,
            attach,
            leave,
            attach_held,
            leave_held,
        }),
        _ => Err(Error::Unexpected {
            what: "a tracer that attached",
            text: ended.to_string(),
        }),
    }
}

/// What the tracer said of itself: `WHAT: stopped for … most=123.4µs last=1.2ms …`.
fn held(said: &str, what: &str) -> Option<Held> {
    let begin = format!("{what}: stopped for");
    let line = said.lines().find(|line| line.contains(&begin))?;
    Some(Held {
        most: milliseconds(line, "most=")?,
        last: milliseconds(line, "last=")?,
    })
}

/// The figure that stands behind `name`.
fn milliseconds(line: &str, name: &str) -> Option<f64> {
    let (_, rest) = line.split_once(name)?;
    let figure = rest.split_whitespace().next()?;
    let digits = figure.trim_end_matches(|c: char| !c.is_ascii_digit());
    let scale = match &figure[digits.len()..] {
        "ns" => 1e-6,
        "µs" => 1e-3,
        "ms" => 1.0,
        "s" => 1e3,
        _ => return None,
    };
    digits.parse::<f64>().ok().map(|figure| figure * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tracer_says() {
        let said = "x\nDEBUG a: attach: stopped for pid=1 to_stop=95.8µs most=229.728µs last=3.1ms\n\
                    DEBUG a: leave: stopped for to_stop=1ms most=3.5ms last=4ms\n";
        let of = |what| held(said, what).map(|held| [held.most, held.last]);
        let near = |what, expected: [f64; 2]| {
            let found = of(what).unwrap();
            assert!((0..2).all(|i| (found[i] - expected[i]).abs() < 1e-9), "{found:?}");
        };
        near("attach", [0.229_728, 3.1]);
        near("leave", [3.5, 4.0]);
        assert_eq!(of("stay"), None);
    }
}
