//! `record`: calls recorded inside programs, by rltrace and its peers, on this machine. See README.md.

use clap::Parser;
use rltrace_benches::fixture::Fixtures;
use rltrace_benches::machine::{self, Machine};
use rltrace_benches::recording::{Place, Runs, Subject, WAYS};
use rltrace_benches::report::table::number;
use rltrace_benches::results::Spread;
use rltrace_benches::standstill::{Standstill, standstill};
use rltrace_benches::tracer::{self, Profile};
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Records the calls of a loop, a compiler and four threads in each way, and writes a table.
#[derive(Debug, Parser)]
#[command(name = "record")]
struct Options {
    /// How often every run is made; the rounds are interleaved.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// The folder for recording.md.
    #[arg(long, default_value = ".")]
    out: PathBuf,
    /// Where runs write: in memory, so that no disk is measured.
    #[arg(long, default_value = "/dev/shm")]
    scratch: PathBuf,
    /// The tracer; without it that of this workspace is built and taken.
    #[arg(long)]
    rltrace: Option<PathBuf>,
    /// Only ways whose names hold this.
    #[arg(long, default_value = "")]
    only: String,
}

fn main() -> ExitCode {
    match record(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("record: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprintln!("  because: {cause}");
                source = cause.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn record(options: &Options) -> Result<(), Box<dyn Error>> {
    let programs = tempfile::tempdir()?;
    let scratch = tempfile::tempdir_in(&options.scratch)?;
    let place = Place {
        fixtures: Fixtures::build(programs.path())?,
        rltrace: match &options.rltrace {
            Some(path) => fs::canonicalize(path)?,
            None => tracer::built(Profile::Release)?,
        },
        scratch: scratch.path().to_owned(),
        compiler: compiler()?,
    };
    place.fixtures.build_recording()?;
    let load = machine::load();
    let (runs, standstills) = rounds(&place, options);
    let report = report(&runs, &standstills, &load, options.rounds);
    fs::create_dir_all(&options.out)?;
    fs::write(options.out.join("recording.md"), &report)?;
    print!("{report}");
    Ok(())
}

fn compiler() -> Result<String, Box<dyn Error>> {
    let said = Command::new("g++").arg("-print-prog-name=cc1plus").output()?;
    let path = String::from_utf8(said.stdout)?.trim().to_owned();
    if Path::new(&path).is_file() {
        return Ok(path);
    }
    Err("g++ has no cc1plus".into())
}

type Visits = Vec<(
    &'static [&'static str],
    Vec<Standstill>,
    Option<rltrace_benches::Error>,
)>;

/// How a busy program is visited.
const VISITS: [&[&str]; 6] = [
    &["--engine=trap", "-e", "work2"],
    &["--engine=trap", "-e", "@MAIN"],
    &["--engine=trap", "-e", "@*"],
    &["--engine=fast", "-e", "work2"],
    &["--engine=fast", "-e", "@MAIN"],
    &["--engine=fast", "-e", "@*"],
];

fn rounds(place: &Place, options: &Options) -> (Vec<Runs>, Visits) {
    let mut all: Vec<Runs> = Vec::new();
    for subject in Subject::ALL {
        let ways = WAYS
            .iter()
            .filter(|way| way.shows(subject) && way.name.contains(&options.only));
        all.extend(ways.map(|&way| Runs {
            subject,
            way,
            samples: Vec::new(),
            failure: None,
        }));
    }
    let mut visits: Visits = VISITS.map(|how| (how, Vec::new(), None)).into();
    for round in 1..=options.rounds.max(1) {
        for runs in &mut all {
            eprintln!("round {round}: {}: {}", runs.subject.title(), runs.way.name);
            match runs.way.sample(place, runs.subject) {
                Ok(sample) => runs.samples.push(sample),
                Err(error) => runs.failure = Some(error),
            }
        }
        for (how, seen, failure) in &mut visits {
            eprintln!("round {round}: attach and leave: {}", how.join(" "));
            match standstill(place, how) {
                Ok(visit) => seen.push(visit),
                Err(error) => *failure = Some(error),
            }
        }
    }
    (all, visits)
}

fn report(all: &[Runs], visits: &Visits, before: &str, rounds: u32) -> String {
    let machine = Machine::this();
    let mut text = format!(
        "# Recording inside the program\n\n- {}; {}; {}\n- {}; load {before} at the start, {} at the end\n\
         - {rounds} interleaved rounds; each figure is the least and the median of them\n\n",
        machine.cpu,
        machine.kernel,
        machine.distribution,
        machine.date,
        machine::load()
    );
    for subject in Subject::ALL {
        section(&mut text, subject, all);
    }
    standstills(&mut text, visits);
    text
}

fn section(text: &mut String, subject: Subject, all: &[Runs]) {
    let unit = if subject == Subject::Loop {
        "B a call"
    } else {
        "MB"
    };
    let _ = writeln!(
        text,
        "## {}\n\n| | min | median | written, {unit} | a record has | it goes |\n|---|---:|---:|---:|---|---|",
        subject.title()
    );
    for runs in all.iter().filter(|runs| runs.subject == subject) {
        let failure = runs
            .failure
            .as_ref()
            .map(|error| error.chain().replace('|', "\\|"));
        let Some(cost) = runs.cost() else {
            let _ = writeln!(
                text,
                "| {} | {} | | | | |",
                runs.way.name,
                failure.unwrap_or_default()
            );
            continue;
        };
        let failed = failure
            .map(|why| format!(" (some failed: {why})"))
            .unwrap_or_default();
        let written = runs.written().unwrap_or(0);
        let written = if subject == Subject::Loop {
            written
        } else {
            written.div_ceil(1_000_000)
        };
        let _ = writeln!(
            text,
            "| {}{failed} | {} | {} | {written} | {} | {} |",
            runs.way.name,
            number(cost.min),
            number(cost.median),
            runs.way.records,
            runs.way.drained
        );
    }
    text.push('\n');
}

fn standstills(text: &mut String, visits: &Visits) {
    text.push_str(
        "## Four busy threads stand still, ms\n\nThe longest time for which none of them went on, of which the scheduler alone makes some; and for how long the tracer held \
         them (`-D debug` says \"stopped for\"): all threads but one, and that one, too.\n\n\
         | | without a tracer, min | attach, min | median | held, all but one, min | median | held, all, min | median | leave, min | median | held, all but one, min | median | held, all, min | median |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for (how, seen, failure) in visits {
        let of = |part: fn(&Standstill) -> f64| Spread::of(seen.iter().map(part));
        let parts: [fn(&Standstill) -> f64; 6] = [
            |v| v.attach,
            |v| v.attach_held.most,
            |v| v.attach_held.last,
            |v| v.leave,
            |v| v.leave_held.most,
            |v| v.leave_held.last,
        ];
        let how = how.join(" ");
        let Some(before) = of(|v| v.before) else {
            let why = failure
                .as_ref()
                .map(rltrace_benches::Error::chain)
                .unwrap_or_default();
            let _ = writeln!(text, "| {how} | {why} |{}", " |".repeat(12));
            continue;
        };
        let spreads = parts.iter().filter_map(|&part| of(part));
        let figures = spreads.flat_map(|spread| [spread.min, spread.median]);
        let figures: Vec<String> = std::iter::once(before.min).chain(figures).map(number).collect();
        let _ = writeln!(text, "| `{how}` | {} |", figures.join(" | "));
    }
}
