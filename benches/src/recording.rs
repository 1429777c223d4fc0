//! What recording inside the program costs, beside other tools that do so: a loop, a compiler, four threads.
//!
//! Each way states what it records and where that goes; what is written is measured, too.

use crate::error::{self, Error};
use crate::fixture::Fixtures;
use crate::process::Line;
use crate::results::Spread;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// No run should take longer.
const LIMIT: Duration = Duration::from_secs(180);

/// What is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A loop of calls with two integers, which times itself.
    Loop,
    /// `cc1plus`, all the calls that it makes to libraries: about 1.5 million.
    Compiler,
    /// Four threads, three million calls each.
    Threads,
}

impl Subject {
    /// All of them.
    pub const ALL: [Subject; 3] = [Subject::Loop, Subject::Compiler, Subject::Threads];

    /// A heading.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Subject::Loop => "A call in a loop, ns",
            Subject::Compiler => "cc1plus, start to finish, ms",
            Subject::Threads => "Four threads, 12 million calls, start to finish, ms",
        }
    }
}

/// Where everything lies.
#[derive(Debug)]
pub struct Place {
    /// The programs.
    pub fixtures: Fixtures,
    /// The tracer of this workspace.
    pub rltrace: PathBuf,
    /// What runs write: best in memory.
    pub scratch: PathBuf,
    /// The C++ compiler proper.
    pub compiler: String,
}

/// One way of recording.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// The tool and its options.
    pub name: &'static str,
    /// What is recorded of a call.
    pub records: &'static str,
    /// Who makes what of the records, and when.
    pub drained: &'static str,
    tool: Tool,
    /// Calls of the loop: few for slow tools.
    calls: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tool {
    Bare,
    Uftrace(&'static [&'static str]),
    Audit(&'static str),
    Ltrace,
    Rltrace(&'static [&'static str]),
    Record(&'static [&'static str]),
}

const fn way(
    name: &'static str,
    records: &'static str,
    drained: &'static str,
    tool: Tool,
    calls: u32,
) -> Way {
    Way {
        name,
        records,
        drained,
        tool,
        calls,
    }
}

/// Room for several bursts, and little that is touched for the first time.
const LARGE_RING: &str = "--ring=2M";

/// All ways.
pub const WAYS: [Way; 15] = [
    way("untraced", "nothing", "–", Tool::Bare, 20_000_000),
    way("untraced, in bursts", "nothing", "–", Tool::Bare, 2_000_000),
    way(
        "uftrace record",
        "two times, 2 arguments, result",
        "to files by a thread; text later",
        Tool::Uftrace(&["-A", "work2@arg1,arg2", "-R", "work2@retval"]),
        2_000_000,
    ),
    way(
        "uftrace record, no arguments",
        "two times",
        "to files by a thread; text later",
        Tool::Uftrace(&[]),
        2_000_000,
    ),
    way(
        "LD_AUDIT, entries",
        "a time, 6 arguments",
        "nobody reads",
        Tool::Audit("libaudit_enter.so"),
        4_000_000,
    ),
    way(
        "LD_AUDIT, entries and returns",
        "two times, 6 arguments, result",
        "nobody reads",
        Tool::Audit("libaudit_exit.so"),
        4_000_000,
    ),
    way(
        "ltrace",
        "2 arguments, result",
        "text at once",
        Tool::Ltrace,
        4_000,
    ),
    way(
        "rltrace --engine trap",
        "2 arguments, result",
        "text at once",
        Tool::Rltrace(&["--engine=trap"]),
        20_000,
    ),
    way(
        "rltrace --engine fast, recorded",
        "2 arguments, result",
        "into a ring; text in the rests between bursts of calls",
        Tool::Rltrace(&["--engine=fast", LARGE_RING]),
        2_000_000,
    ),
    way(
        "rltrace --engine fast -T, recorded",
        "two times, 2 arguments, result",
        "into a ring; text in the rests between bursts of calls",
        Tool::Rltrace(&["--engine=fast", LARGE_RING, "-T"]),
        2_000_000,
    ),
    way(
        "rltrace --record",
        "2 arguments, result",
        "packed, to a file; text later",
        Tool::Record(&[]),
        5_000_000,
    ),
    way(
        "rltrace --record -T",
        "two times, 2 arguments, result",
        "packed, to a file; text later",
        Tool::Record(&["-T"]),
        5_000_000,
    ),
    way(
        "rltrace --engine fast",
        "2 arguments, result",
        "text at once, nothing lost",
        Tool::Rltrace(&["--engine=fast"]),
        5_000_000,
    ),
    way(
        "rltrace --engine fast -ttt -T",
        "two times, 2 arguments, result",
        "text at once, nothing lost",
        Tool::Rltrace(&["--engine=fast", "-ttt", "-T"]),
        5_000_000,
    ),
    way(
        "rltrace --engine fast -c",
        "two times",
        "counted at once, nothing lost",
        Tool::Rltrace(&["--engine=fast", "-c"]),
        5_000_000,
    ),
];

/// One run.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// In the subject's unit.
    pub cost: f64,
    /// Bytes of what was written for a call of the loop, or in all.
    pub written: u64,
}

/// All runs of one way on one subject.
#[derive(Debug)]
pub struct Runs {
    /// Of what.
    pub subject: Subject,
    /// How.
    pub way: Way,
    /// Those that ended well.
    pub samples: Vec<Sample>,
    /// Why the last that did not, did not.
    pub failure: Option<Error>,
}

impl Runs {
    /// The least and the median.
    #[must_use]
    pub fn cost(&self) -> Option<Spread> {
        Spread::of(self.samples.iter().map(|sample| sample.cost))
    }

    /// Bytes written.
    #[must_use]
    pub fn written(&self) -> Option<u64> {
        self.samples.iter().map(|sample| sample.written).min()
    }
}

impl Way {
    /// Whether it is shown for a subject.
    #[must_use]
    pub fn shows(&self, subject: Subject) -> bool {
        if subject == Subject::Loop {
            return true;
        }
        let slow = self.tool == Tool::Ltrace || self.name.contains("trap");
        // What is about the loop's function alone.
        let of_the_loop =
            self.is_in_bursts() || matches!(self.tool, Tool::Audit(_) | Tool::Uftrace(&["-A", ..]));
        !slow && !of_the_loop
    }

    /// Whether the calls come with rests in between.
    fn is_in_bursts(&self) -> bool {
        self.name.contains("recorded") || self.name.contains("bursts")
    }

    fn line(&self, place: &Place, subject: Subject) -> Line {
        let trace = place.scratch.join("trace");
        let (function, program) = (subject == Subject::Loop, self.program(place, subject));
        let prefix = match self.tool {
            Tool::Bare => return program,
            Tool::Uftrace(options) => Line::new(["uftrace", "record", "--force", "-d"])
                .and([place.scratch.join("uftrace.data")])
                .and(options.iter().copied()),
            Tool::Audit(library) => {
                let library = place.fixtures.path(library);
                Line::new(["env".to_owned(), format!("LD_AUDIT={}", library.display())])
            }
            Tool::Ltrace => Line::new(["ltrace", "-F"])
                .and([place.fixtures.path("work.conf")])
                .and(["-o"])
                .and([trace]),
            Tool::Rltrace(options) | Tool::Record(options) => {
                let is_raw = matches!(self.tool, Tool::Record(_));
                let line = Line::new([&place.rltrace])
                    .and(options.iter().copied())
                    .and([if is_raw { "--record" } else { "-o" }])
                    .and([trace]);
                if function || subject == Subject::Threads {
                    line.and(["-F"]).and([place.fixtures.path("work.conf")])
                } else {
                    line
                }
            }
        };
        let of_ours = matches!(self.tool, Tool::Ltrace | Tool::Rltrace(_) | Tool::Record(_));
        let selects = of_ours && subject != Subject::Compiler;
        let prefix = if selects {
            prefix.and(["-e", "work2"])
        } else {
            prefix
        };
        prefix.and(program.0)
    }

    fn program(&self, place: &Place, subject: Subject) -> Line {
        let (calls, threads) = match subject {
            Subject::Loop => (self.calls, "1"),
            Subject::Threads => (3_000_000, "4"),
            Subject::Compiler => {
                return Line::new([&place.compiler])
                    .and([
                        "-quiet",
                        "-imultiarch",
                        "x86_64-linux-gnu",
                        "-O1",
                        "-D_GNU_SOURCE",
                    ])
                    .and([place.fixtures.path("compiled.cc")])
                    .and(["-o", "/dev/null"]);
            }
        };
        let kind = if self.is_in_bursts() { "bursts" } else { "ints" };
        Line::new([place.fixtures.path("loop")])
            .and([place.scratch.join("report")])
            .and([kind.to_owned(), calls.to_string(), threads.to_owned()])
    }

    /// One run; it counts only if every call is in what was written, where that is text, or can be made into text.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`], and those of running a program.
    pub fn sample(&self, place: &Place, subject: Subject) -> Result<Sample, Error> {
        clean(&place.scratch)?;
        let took = self.line(place, subject).run(&place.scratch, LIMIT)?;
        let trace = place.scratch.join("trace");
        let mut written = size(&trace) + size(&place.scratch.join("uftrace.data"));
        let seen = match self.tool {
            Tool::Rltrace(options) if !options.contains(&"-c") => Some(lines(&trace)?),
            Tool::Record(_) => Some(counted(place, &trace)?),
            _ => None,
        };
        let made = match subject {
            Subject::Loop => u64::from(self.calls),
            Subject::Threads => 12_000_000,
            Subject::Compiler => 1_000_000,
        };
        if let Some(seen) = seen.filter(|&seen| seen < made) {
            return Err(Error::Lost { seen, made });
        }
        let cost = if subject == Subject::Loop {
            let report = place.scratch.join("report");
            let text = fs::read_to_string(&report).map_err(error::file(&report))?;
            let nanoseconds: f64 = text.trim().parse().unwrap_or(f64::NAN);
            written /= u64::from(self.calls);
            nanoseconds / f64::from(self.calls)
        } else {
            took.wall.as_secs_f64() * 1e3
        };
        Ok(Sample { cost, written })
    }
}

/// What is there before a run is not this run's.
pub(crate) fn clean(scratch: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(scratch).map_err(error::file(scratch))? {
        let path = entry.map_err(error::file(scratch))?.path();
        let gone = if path.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        gone.map_err(error::file(&path))?;
    }
    Ok(())
}

/// Bytes of a file, or of all files of a folder; none where there is none.
pub(crate) fn size(path: &Path) -> u64 {
    let Ok(meta) = fs::metadata(path) else { return 0 };
    if !meta.is_dir() {
        return meta.len();
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| size(&entry.path())).sum()
}

fn lines(path: &Path) -> Result<u64, Error> {
    let mut file = fs::File::open(path).map_err(error::file(path))?;
    let (mut count, mut bytes) = (0, vec![0; 1 << 20]);
    loop {
        let read = file.read(&mut bytes).map_err(error::file(path))?;
        if read == 0 {
            return Ok(count);
        }
        count += bytes[..read]
            .iter()
            .map(|&byte| u64::from(byte == b'\n'))
            .sum::<u64>();
    }
}

/// How many calls a raw trace has.
fn counted(place: &Place, trace: &Path) -> Result<u64, Error> {
    let table = place.scratch.join("table");
    Line::new([&place.rltrace])
        .and(["--replay"])
        .and([trace])
        .and(["-c", "--columns", "calls,name", "-o"])
        .and([&table])
        .run(&place.scratch, LIMIT)?;
    let text = fs::read_to_string(&table).map_err(error::file(&table))?;
    let total = text.lines().find(|line| line.ends_with(" total"));
    let calls = total.and_then(|line| line.split_whitespace().next()?.parse().ok());
    calls.ok_or(Error::Unexpected {
        what: "a table of a raw trace",
        text,
    })
}
