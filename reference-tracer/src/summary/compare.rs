//! Two summaries side by side.

use super::limit::growth;
use super::table::{printable, seconds};
use super::{Limit, Report, Row};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// How a summary differs from another, and which limits that passes.
#[derive(Debug)]
pub struct Comparison<'r> {
    functions: Vec<Pair<'r>>,
    findings: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Pair<'r> {
    name: &'r str,
    base: Option<&'r Row>,
    new: Option<&'r Row>,
}

impl<'r> Comparison<'r> {
    /// Compares `new` with `base` under `limits`.
    #[must_use]
    pub fn new(base: &'r Report, new: &'r Report, limits: &[Limit]) -> Self {
        let mut by_name: BTreeMap<&str, Pair<'r>> = BTreeMap::new();
        for row in &base.rows {
            by_name.entry(&row.name).or_default().base = Some(row);
        }
        for row in &new.rows {
            by_name.entry(&row.name).or_default().new = Some(row);
        }
        let mut functions: Vec<_> = by_name
            .into_iter()
            .map(|(name, pair)| Pair { name, ..pair })
            .collect();
        let findings = limits
            .iter()
            .flat_map(|limit| findings(limit, &functions))
            .collect();
        functions.sort_by_key(|pair| std::cmp::Reverse(total(pair.base).abs_diff(total(pair.new))));
        Self { functions, findings }
    }

    /// Whether a limit was passed, or could not be checked since no function has its name: the exit status is 3 then.
    #[must_use]
    pub fn failed(&self) -> bool {
        !self.findings.is_empty()
    }

    /// The table, the largest change first, and a line for each limit that was passed.
    #[must_use]
    pub fn table(&self) -> String {
        let header = [
            "calls", "to", "change", "total s", "to", "change", "mean µs", "to", "change",
        ]
        .map(str::to_owned);
        let rows: Vec<[String; 9]> = std::iter::once(header)
            .chain(self.functions.iter().map(cells))
            .collect();
        let width = |index: usize| {
            rows.iter()
                .map(|row| row[index].chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: [usize; 9] = std::array::from_fn(width);
        let mut text = String::new();
        let names = std::iter::once("function").chain(self.functions.iter().map(|pair| pair.name));
        for (row, name) in rows.iter().zip(names) {
            for (cell, width) in row.iter().zip(widths) {
                // A `String` takes everything.
                let _ = write!(text, "{cell:>width$}  ");
            }
            let _ = writeln!(text, "{}", printable(name));
        }
        for finding in &self.findings {
            let _ = writeln!(text, "{finding}");
        }
        text
    }
}

fn total(row: Option<&Row>) -> u64 {
    row.map_or(0, |row| row.total_ns)
}

fn cells(pair: &Pair<'_>) -> [String; 9] {
    let of = |value: fn(&Row) -> u64| (pair.base.map_or(0, value), pair.new.map_or(0, value));
    let (calls, total, mean) = (of(|row| row.calls), of(|row| row.total_ns), of(Row::mean_ns));
    let micros = |ns: u64| format!("{}.{:03}", ns / 1000, ns % 1000);
    [
        calls.0.to_string(),
        calls.1.to_string(),
        change(calls),
        seconds(total.0),
        seconds(total.1),
        change(total),
        micros(mean.0),
        micros(mean.1),
        change(mean),
    ]
}

fn change((base, new): (u64, u64)) -> String {
    let growth = growth(base, new);
    if growth.is_infinite() {
        "new".to_owned()
    } else {
        format!("{growth:+.1}%")
    }
}

fn findings(limit: &Limit, functions: &[Pair<'_>]) -> Vec<String> {
    let mut named = functions
        .iter()
        .filter(|pair| limit.functions.matches(pair.name))
        .peekable();
    if named.peek().is_none() {
        return vec![format!("limit {limit} names no function of either summary")];
    }
    named
        .filter(|pair| limit.is_passed(pair.base, pair.new))
        .map(|pair| {
            let (base, new) = (limit.value(pair.base), limit.value(pair.new));
            let unit = if limit.column.is_time() { " ns" } else { "" };
            let (name, column) = (printable(pair.name), limit.column.name());
            format!(
                "limit {limit} passed: {name}: {column} went from {base}{unit} to {new}{unit} ({})",
                change((base, new))
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::row;
    use super::*;

    fn limits(texts: &[&str]) -> Vec<Limit> {
        texts.iter().map(|text| Limit::parse(text).unwrap()).collect()
    }

    fn reports() -> (Report, Report) {
        let base = vec![
            row("malloc", 100, 100_000),
            row("free", 90, 9_000),
            row("gone", 1, 500),
        ];
        let new = vec![
            row("malloc", 125, 150_000),
            row("free", 90, 9_000),
            row("fresh", 2, 1_000),
        ];
        (
            Report {
                rows: base,
                correction: None,
            },
            Report {
                rows: new,
                correction: None,
            },
        )
    }

    #[test]
    fn a_limit_fails_what_passes_it() {
        let (base, new) = reports();
        for (limit, failed) in [
            ("malloc:calls:20%", true),
            ("malloc:calls:25%", false),
            ("malloc:total:49%", true),
            ("malloc:mean:20%", false),
            ("m*:calls:20%", true),
            ("*:errors:0%", false),
            ("fresh:calls:1000%", true),
            ("gone:calls:0%", false),
            ("free:calls:0%", false),
            ("mallok:calls:20%", true),
        ] {
            assert_eq!(
                Comparison::new(&base, &new, &limits(&[limit])).failed(),
                failed,
                "{limit}"
            );
        }
        assert!(!Comparison::new(&base, &new, &[]).failed());
        assert!(!Comparison::new(&base, &base, &limits(&["*:calls:0%", "*:p99:0%"])).failed());
    }

    #[test]
    fn the_table_shows_both_sides() {
        let (base, new) = reports();
        let compared = Comparison::new(
            &base,
            &new,
            &limits(&["malloc:calls:20%", "malloc:p50:10%", "nope:calls:1%"]),
        );
        let expected = "\
calls   to   change   total s        to   change  mean µs     to   change  function
  100  125   +25.0%  0.000100  0.000150   +50.0%    1.000  1.200   +20.0%  malloc
    0    2      new  0.000000  0.000001      new    0.000  0.500      new  fresh
    1    0  -100.0%  0.000000  0.000000  -100.0%    0.500  0.000  -100.0%  gone
   90   90    +0.0%  0.000009  0.000009    +0.0%    0.100  0.100    +0.0%  free
limit 'malloc:calls:20%' passed: malloc: calls went from 100 to 125 (+25.0%)
limit 'malloc:p50:10%' passed: malloc: p50 went from 1000 ns to 1200 ns (+20.0%)
limit 'nope:calls:1%' names no function of either summary
";
        assert_eq!(compared.table(), expected);
    }
}
