//! One run of one tool.

use crate::error::{self, Error};
use crate::results::Sample;
use crate::tools::{Invocation, Setup, Tool, Workload};
use std::fs;
use std::time::Duration;

/// No run should take longer; one that does is hung.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);

impl Setup {
    /// Makes one run, whose time counts only if all calls were recorded.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`], and those of running a program.
    pub fn sample(&self, workload: Workload, invocation: &Invocation) -> Result<Sample, Error> {
        self.clean()?;
        let took = invocation.line.run(&self.scratch, LIMIT)?;
        let timed = if workload.is_loop() {
            self.loop_time()?
        } else {
            took.wall
        };
        let seen = invocation.count.seen(&self.scratch)?;
        match seen {
            Some(seen) if seen < u64::from(invocation.calls) => Err(Error::Lost {
                seen,
                made: u64::from(invocation.calls),
            }),
            _ => Ok(Sample {
                whole: took.wall,
                cpu: took.cpu,
                timed,
                calls: invocation.calls,
            }),
        }
    }

    /// The time of a loop of at least `calls` calls under `tool`, or as long as so many would have taken.
    ///
    /// # Errors
    ///
    /// As [`Setup::sample`]; [`Error::Unexpected`] where the tool cannot trace the workload.
    pub fn time(&self, tool: Tool, workload: Workload, calls: u64) -> Result<Duration, Error> {
        let wanted = u32::try_from(calls).unwrap_or(u32::MAX);
        let invocation = self.invocation_of(tool, workload, wanted);
        let cannot = || Error::Unexpected {
            what: "a workload",
            text: workload.word().to_owned(),
        };
        let sample = self.sample(workload, &invocation.ok_or_else(cannot)?)?;
        Ok(sample.timed.mul_f64(f64::from(wanted) / f64::from(sample.calls)))
    }

    /// Takes away what an earlier run wrote, lest it be taken for this one's.
    pub(crate) fn clean(&self) -> Result<(), Error> {
        for entry in fs::read_dir(&self.scratch).map_err(error::file(&self.scratch))? {
            let path = entry.map_err(error::file(&self.scratch))?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if name.starts_with("uftrace.data") {
                fs::remove_dir_all(&path).map_err(error::file(&path))?;
            } else if ["trace", "report", "perf.data", "perf.data.old"].contains(&name) {
                fs::remove_file(&path).map_err(error::file(&path))?;
            }
        }
        Ok(())
    }

    fn loop_time(&self) -> Result<Duration, Error> {
        let path = self.report();
        let text = fs::read_to_string(&path).map_err(error::file(path))?;
        let nanoseconds = text.trim().parse().map(Duration::from_nanos);
        nanoseconds.map_err(|_| Error::Unexpected {
            what: "the loop's report",
            text,
        })
    }
}
