//! How many calls a tool's output tells of.

use crate::error::{self, Error};
use crate::process::{Line, STDOUT};
use crate::tools::Count;
use std::fs;
use std::path::Path;
use std::time::Duration;

impl Count {
    /// Counts; nothing where there is nothing to count.
    ///
    /// # Errors
    ///
    /// [`Error::File`] where the output is not there, [`Error::Unexpected`] where it cannot be read.
    pub fn seen(&self, scratch: &Path) -> Result<Option<u64>, Error> {
        match self {
            Count::Nothing => Ok(None),
            Count::Lines(file, needle) => Ok(Some(lines_with(&read(file)?, needle))),
            Count::Row(file, function) => number_in_row(&read(file)?, function).map(Some),
            Count::Uftrace(data, function) => uftrace(data, function, scratch).map(Some),
            Count::Perf(file) => perf_samples(&read(file)?).map(|samples| Some(samples / 2)),
        }
    }
}

fn read(file: &Path) -> Result<String, Error> {
    let bytes = fs::read(file).map_err(error::file(file))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn lines_with(text: &str, needle: &str) -> u64 {
    let lines = text.lines().filter(|line| line.contains(needle));
    lines.map(|_| 1).sum()
}

/// The greatest whole number of the row that ends with `function`: its calls. Those are the last one for ltrace and uftrace;
/// in rltrace's own summary the errors follow.
fn number_in_row(text: &str, function: &str) -> Result<u64, Error> {
    let row = text
        .lines()
        .find(|line| line.split_whitespace().next_back() == Some(function));
    let number = row.and_then(|row| row.split_whitespace().filter_map(|word| word.parse().ok()).max());
    number.ok_or_else(|| Error::Unexpected {
        what: "a summary",
        text: text.lines().take(5).collect(),
    })
}

fn uftrace(data: &Path, function: &str, scratch: &Path) -> Result<u64, Error> {
    let line = Line::new(["uftrace", "report", "-f", "call", "-d"]).and([data]);
    line.run(scratch, Duration::from_secs(120))?;
    number_in_row(&read(&scratch.join(STDOUT))?, function)
}

/// The number of "(N samples)" at the end of `perf record`.
fn perf_samples(text: &str) -> Result<u64, Error> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let number = words
        .windows(2)
        .find(|pair| pair[1].starts_with("samples)"))
        .map(|pair| pair[0]);
    let number = number.and_then(|number| number.trim_start_matches('(').parse().ok());
    number.ok_or_else(|| Error::Unexpected {
        what: "perf record's last line",
        text: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_found_in_every_tools_words() {
        assert_eq!(
            lines_with("x->work2(0, 7) = 7\nx->other()\nx->work2(1, 7) = 8\n", "work2("),
            2
        );
        let ltrace = "% time     seconds  usecs/call     calls      function\n\
                      ------ ----------- ----------- --------- --------------------\n\
                      100.00    0.007960          79       100 work2\n\
                      100.00    0.007960                   100 total\n";
        assert_eq!(number_in_row(ltrace, "work2").unwrap(), 100);
        let uftrace = "       Calls  Function\n  ==========  ====================\n     1000000  work2\n";
        assert_eq!(number_in_row(uftrace, "work2").unwrap(), 1_000_000);
        assert!(
            number_in_row(uftrace, "work").is_err(),
            "a part of a name is not the name"
        );
        let perf = "[ perf record: Captured and wrote 3.511 MB p.data (40000 samples) ]\n";
        assert_eq!(perf_samples(perf).unwrap(), 40_000);
        assert!(perf_samples("nothing").is_err());
    }
}
