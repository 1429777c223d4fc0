//! Tables.

use super::{Column, Report, Row};
use std::fmt::Write as _;

impl Report {
    /// The table of rltrace: `columns`, with the rows sorted by `sort` (numbers descend, names ascend), totals, and what was
    /// taken off.
    #[must_use]
    pub fn table(&self, columns: &[Column], sort: Column) -> String {
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        rows.sort_by(|a, b| sort.compare(a, b));
        let all_ns = self
            .rows
            .iter()
            .map(|row| row.self_ns)
            .fold(0, u64::saturating_add);
        let total = self.total_row();
        let mut lines: Vec<Vec<String>> =
            vec![columns.iter().map(|column| column.header().to_owned()).collect()];
        lines.extend(
            rows.iter()
                .map(|row| columns.iter().map(|column| cell(*column, row, all_ns)).collect()),
        );
        lines.push(
            columns
                .iter()
                .map(|column| total_cell(*column, &total, all_ns))
                .collect(),
        );
        let mut text = aligned(&lines, columns);
        if let Some(correction) = self.correction {
            // A `String` takes everything.
            let _ = writeln!(text, "{correction}");
        }
        text
    }

    /// The table of ltrace 0.7.91, to the letter: wall time in the functions, the longest first.
    #[must_use]
    pub fn ltrace_table(&self) -> String {
        // It counts a call when it returns.
        let returned = |row: &Row| Row {
            calls: row.calls.saturating_sub(row.unreturned),
            ..row.clone()
        };
        let counted = Self {
            rows: self
                .rows
                .iter()
                .map(returned)
                .filter(|row| row.calls > 0)
                .collect(),
            correction: None,
        };
        let mut rows: Vec<&Row> = counted.rows.iter().collect();
        rows.sort_by(|a, b| Column::Total.compare(a, b));
        let rule = "------ ----------- ----------- --------- --------------------\n";
        let total = counted.total_row();
        let mut text = format!("% time     seconds  usecs/call     calls      function\n{rule}");
        for row in rows {
            let percent = percent(row.total_ns, total.total_ns);
            let per_call = (row.total_ns / 1000).checked_div(row.calls).unwrap_or(0);
            let (seconds, name) = (seconds(row.total_ns), printable(&row.name));
            let _ = writeln!(
                text,
                "{percent:6.2} {seconds:>11} {per_call:11} {:9} {name}",
                row.calls
            );
        }
        let _ = writeln!(
            text,
            "{rule}100.00 {:>11} {:11} {:9} total",
            seconds(total.total_ns),
            "",
            total.calls
        );
        text
    }

    fn total_row(&self) -> Row {
        let sum = |of: fn(&Row) -> u64| self.rows.iter().map(of).fold(0, u64::saturating_add);
        Row {
            name: "total".to_owned(),
            calls: sum(|row| row.calls),
            unreturned: sum(|row| row.unreturned),
            errors: sum(|row| row.errors),
            total_ns: sum(|row| row.total_ns),
            self_ns: sum(|row| row.self_ns),
            p50_ns: 0,
            p90_ns: 0,
            p99_ns: 0,
            max_ns: self.rows.iter().map(|row| row.max_ns).max().unwrap_or(0),
        }
    }
}

/// A name as it may be shown on a terminal.
pub(super) fn printable(name: &str) -> String {
    if name.chars().any(char::is_control) {
        name.escape_debug().to_string()
    } else {
        name.to_owned()
    }
}

fn cell(column: Column, row: &Row, all_ns: u64) -> String {
    match (column, column.value(row)) {
        (Column::TimePercent, _) => format!("{:.2}", percent(row.self_ns, all_ns)),
        (Column::Total | Column::SelfTime, Some(ns)) => seconds(ns),
        (_, Some(ns)) if column.is_time() => microseconds(ns),
        (_, Some(number)) => number.to_string(),
        (_, None) => printable(&row.name),
    }
}

fn total_cell(column: Column, total: &Row, all_ns: u64) -> String {
    match column {
        // There is no histogram of all functions, and calls inside calls would make a sum of totals count twice.
        Column::P50 | Column::P90 | Column::P99 | Column::Mean | Column::Total => String::new(),
        Column::TimePercent => "100.00".to_owned(),
        other => cell(other, total, all_ns),
    }
}

/// Numbers to the right, names to the left.
fn aligned(lines: &[Vec<String>], columns: &[Column]) -> String {
    let width = |index: usize| {
        lines
            .iter()
            .map(|line| line[index].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        if number == 1 || number + 1 == lines.len() {
            push_line(&mut text, &rule, &widths, columns);
        }
        push_line(&mut text, line, &widths, columns);
    }
    text
}

fn push_line(text: &mut String, cells: &[String], widths: &[usize], columns: &[Column]) {
    let mut line = String::new();
    for ((cell, width), column) in cells.iter().zip(widths).zip(columns) {
        let _ = match column {
            Column::Name => write!(line, "{cell:<width$}  "),
            _ => write!(line, "{cell:>width$}  "),
        };
    }
    text.push_str(line.trim_end());
    text.push('\n');
}

/// `part` of `whole` in percent. For display: a rounded digit is no harm.
#[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
pub(super) fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 * 100.0 / whole as f64
    }
}

/// Seconds with six decimals, cut off as ltrace does.
pub(super) fn seconds(ns: u64) -> String {
    format!("{}.{:06}", ns / 1_000_000_000, ns % 1_000_000_000 / 1000)
}

fn microseconds(ns: u64) -> String {
    format!("{}.{:03}", ns / 1000, ns % 1000)
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::row;
    use super::super::{Correction, Report};
    use super::*;

    fn example() -> Report {
        let mut sleep = row("sleep", 1, 1_000_302_999);
        sleep.errors = 1;
        let rows = vec![row("getppid", 5, 868_000), sleep, row("usleep", 1, 3_231_000)];
        Report {
            rows,
            correction: None,
        }
    }

    /// Compared with what ltrace 0.7.3 printed for a program with these times.
    #[test]
    fn ltrace_s_table_is_ltrace_s() {
        let expected = "\
% time     seconds  usecs/call     calls      function
------ ----------- ----------- --------- --------------------
 99.59    1.000302     1000302         1 sleep
  0.32    0.003231        3231         1 usleep
  0.09    0.000868         173         5 getppid
------ ----------- ----------- --------- --------------------
100.00    1.004401                     7 total
";
        assert_eq!(example().ltrace_table(), expected);
        let empty = Report {
            rows: vec![],
            correction: None,
        };
        let expected = "\
% time     seconds  usecs/call     calls      function
------ ----------- ----------- --------- --------------------
------ ----------- ----------- --------- --------------------
100.00    0.000000                     0 total
";
        assert_eq!(empty.ltrace_table(), expected);
    }

    #[test]
    fn the_table_has_every_column() {
        let mut report = example();
        report.correction = Some(Correction {
            inside_ns: 9000,
            around_ns: 19000,
        });
        let expected = "\
% time   total s    self s  calls  errors      mean µs       p50 µs       p90 µs       p99 µs       max µs  function
------  --------  --------  -----  ------  -----------  -----------  -----------  -----------  -----------  --------
 99.59  1.000302  1.000302      1       1  1000302.999  1000302.999  1000302.999  1000302.999  1000302.999  sleep
  0.32  0.003231  0.003231      1       0     3231.000     3231.000     3231.000     3231.000     3231.000  usleep
  0.09  0.000868  0.000868      5       0      173.600      173.600      173.600      173.600      173.600  getppid
------  --------  --------  -----  ------  -----------  -----------  -----------  -----------  -----------  --------
100.00            1.004401      7       1                                                      1000302.999  total
taken off for the tracer's own cost: 9000 ns per call, and 19000 ns per traced call inside it
";
        assert_eq!(report.table(Column::ALL, Column::Total), expected);
    }

    #[test]
    fn rows_are_sorted_as_asked() {
        let names = |sort| -> Vec<String> {
            let table = example().table(&[Column::Name], sort);
            table.lines().skip(2).take(3).map(str::to_owned).collect()
        };
        assert_eq!(names(Column::Total), ["sleep", "usleep", "getppid"]);
        assert_eq!(names(Column::Calls), ["getppid", "sleep", "usleep"]);
        assert_eq!(names(Column::Errors), ["sleep", "getppid", "usleep"]);
        assert_eq!(names(Column::Name), ["getppid", "sleep", "usleep"]);
    }

    #[test]
    fn a_hostile_name_stays_on_its_line() {
        let report = Report {
            rows: vec![row("a\n\u{1b}[2J", u64::MAX, u64::MAX), row("b", 1, u64::MAX)],
            correction: None,
        };
        for text in [report.table(Column::ALL, Column::Name), report.ltrace_table()] {
            assert!(!text.contains('\u{1b}'), "{text:?}");
            assert_eq!(text.lines().count(), 6);
        }
    }
}
