//! The results as an SVG picture: horizontal bars on a logarithmic scale, legible on a light and on a dark ground.

use super::table::number;
use super::{Kind, Row, Section, sections};
use crate::results::{Results, Spread};
use std::fmt::Write as _;

const WIDTH: f64 = 900.0;
const LEFT: f64 = 270.0;
const RIGHT: f64 = 110.0;
const BAR: f64 = 20.0;
const HEADER: f64 = 46.0;
const FOOTER: f64 = 30.0;
const TOP: f64 = 62.0;

/// Of every section that has a figure.
#[must_use]
pub fn svg(results: &Results) -> String {
    let sections: Vec<Section> = sections(results)
        .into_iter()
        .filter(|section| axis(section).is_some())
        .collect();
    let height = sections
        .iter()
        .fold(TOP, |height, section| height + panel_height(section));
    let mut text = String::new();
    let _ = writeln!(
        text,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" font-family="system-ui, sans-serif" font-size="13" fill="{INK}">"#
    );
    let machine = &results.machine;
    line_of_text(
        &mut text,
        10.0,
        24.0,
        "start",
        "rltrace and its peers (bar: minimum, tick: median; logarithmic)",
        true,
    );
    let place = format!(
        "{}; {}; {}; {}",
        machine.cpu, machine.kernel, machine.distribution, machine.date
    );
    line_of_text(&mut text, 10.0, 44.0, "start", &place, false);
    let mut y = TOP;
    for section in &sections {
        panel(&mut text, section, y);
        y += panel_height(section);
    }
    text.push_str("</svg>\n");
    text
}

/// A grey that stands out from white and from black alike (4.5 : 1 against each).
const INK: &str = "#767676";

fn colour(kind: Kind) -> &'static str {
    match kind {
        Kind::Ours => "#3b82c4",
        Kind::Peer => "#c07a2c",
        Kind::Base => "#8a8f98",
    }
}

/// The powers of ten around the values of a section.
struct Axis {
    first: f64,
    decades: f64,
}

impl Axis {
    /// Where `value` lies.
    fn x(&self, value: f64) -> f64 {
        let along = (value.max(f64::MIN_POSITIVE).log10() - self.first) / self.decades;
        LEFT + along.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }
}

fn axis(section: &Section) -> Option<Axis> {
    let values = section.rows.iter().filter_map(|row| row.value.as_ref().ok());
    let values: Vec<f64> = values
        .flat_map(|spread| [spread.min, spread.median])
        .filter(|&value| value > 0.0)
        .collect();
    let least = values.iter().copied().reduce(f64::min)?;
    let most = values.iter().copied().reduce(f64::max)?;
    // The shortest bar shall be seen, so that the axis begins below it.
    let first = (least / 1.5).log10().floor();
    Some(Axis {
        first,
        decades: (most.log10().ceil() - first).max(1.0),
    })
}

fn panel_height(section: &Section) -> f64 {
    section
        .rows
        .iter()
        .fold(HEADER + FOOTER, |height, _| height + BAR)
}

fn panel(text: &mut String, section: &Section, top: f64) {
    let Some(axis) = axis(section) else { return };
    line_of_text(
        text,
        10.0,
        top + 24.0,
        "start",
        &format!("{}, {}", section.title, section.unit),
        true,
    );
    let bottom = top + panel_height(section) - FOOTER;
    grid(text, &axis, top + HEADER - 8.0, bottom);
    let mut y = top + HEADER;
    for row in &section.rows {
        bar(text, row, &axis, y - 6.0);
        y += BAR;
    }
}

fn grid(text: &mut String, axis: &Axis, top: f64, bottom: f64) {
    let mut decade = 0.0;
    while decade <= axis.decades {
        let value = 10f64.powf(axis.first + decade);
        let x = axis.x(value);
        let _ = writeln!(
            text,
            r#"<line x1="{x:.1}" y1="{top:.1}" x2="{x:.1}" y2="{bottom:.1}" stroke="{INK}" stroke-opacity="0.35"/>"#
        );
        line_of_text(text, x, bottom + 14.0, "middle", &power(value), false);
        decade += 1.0;
    }
}

/// A power of ten without needless zeros.
fn power(value: f64) -> String {
    if value >= 1.0 {
        format!("{value:.0}")
    } else {
        format!("{value}")
    }
}

fn bar(text: &mut String, row: &Row, axis: &Axis, top: f64) {
    let base = top + 14.0;
    line_of_text(text, LEFT - 8.0, base, "end", row.name, row.kind == Kind::Ours);
    match &row.value {
        Ok(Spread { min, median }) => {
            let (end, tick) = (axis.x(*min), axis.x(*median));
            let (y, height, width) = (top + 3.0, BAR - 6.0, end - LEFT);
            let _ = writeln!(
                text,
                r#"<rect x="{LEFT}" y="{y:.1}" width="{width:.1}" height="{height}" fill="{}"/>"#,
                colour(row.kind)
            );
            let low = y + height;
            let _ = writeln!(
                text,
                r#"<line x1="{tick:.1}" y1="{y:.1}" x2="{tick:.1}" y2="{low:.1}" stroke="{INK}" stroke-width="2"/>"#
            );
            line_of_text(
                text,
                end.max(tick) + 6.0,
                base,
                "start",
                &number(*min),
                row.kind == Kind::Ours,
            );
        }
        Err(why) => line_of_text(text, LEFT + 6.0, base, "start", &shortened(why), false),
    }
}

/// What fits beside a name.
fn shortened(why: &str) -> String {
    let kept: String = why.chars().take(70).collect();
    if kept.len() < why.len() {
        kept + "…"
    } else {
        kept
    }
}

fn line_of_text(text: &mut String, x: f64, y: f64, anchor: &str, words: &str, bold: bool) {
    let weight = if bold { r#" font-weight="600""# } else { "" };
    let words = escaped(words);
    let _ = writeln!(
        text,
        r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}"{weight}>{words}</text>"#
    );
}

/// Fit for the text of an element; XML 1.0 has no way to write most control characters.
fn escaped(words: &str) -> String {
    let words = words
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    words
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(values: &[f64]) -> Section {
        let row = |&value: &f64| Row {
            name: "<tool>",
            value: Ok(Spread {
                min: value,
                median: value * 1.2,
            }),
            calls: None,
            cpu: None,
            failure: None,
            kind: Kind::Peer,
        };
        let rows = values.iter().map(row).collect();
        Section {
            title: "a & b".to_owned(),
            word: "ab",
            unit: "µs",
            note: "",
            rows,
        }
    }

    #[test]
    fn longer_times_have_longer_bars_within_the_picture() {
        let axis = axis(&section(&[0.003, 14.0, 190.0])).unwrap();
        let ends = [0.003, 14.0, 190.0].map(|value| axis.x(value));
        assert!(
            LEFT < ends[0] && ends[0] < ends[1] && ends[1] < ends[2] && ends[2] < WIDTH - RIGHT,
            "{ends:?}"
        );
    }

    #[test]
    fn a_value_that_has_no_logarithm_has_no_bar() {
        assert!(axis(&section(&[0.0, -1.0])).is_none());
        let axis = axis(&section(&[-0.5, 1.0])).unwrap();
        assert_eq!(axis.x(-0.5).to_bits(), LEFT.to_bits());
    }

    #[test]
    fn words_of_programs_are_no_markup() {
        let mut text = String::new();
        panel(&mut text, &section(&[1.0]), 0.0);
        assert!(
            text.contains("a &amp; b") && text.contains("&lt;tool&gt;") && !text.contains("<tool>"),
            "{text}"
        );
    }
}
