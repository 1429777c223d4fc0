//! The names nearest to one that was not found.

/// Names longer than this are not compared: the cost grows with the product of both lengths.
const LENGTH_LIMIT: usize = 256;

/// Up to `limit` of `candidates` which `wanted` may have been meant to be, nearest first, each once.
///
/// Near is: equal but for case, a part of it (`memcpy` of `__memcpy_chk`), or at most a third of its characters mistyped (optimal
/// string alignment distance).
#[must_use]
pub fn nearest<'a>(
    wanted: &str,
    candidates: impl IntoIterator<Item = &'a str>,
    limit: usize,
) -> Vec<&'a str> {
    let mut ranked: Vec<(usize, &str)> = candidates
        .into_iter()
        .filter(|candidate| *candidate != wanted)
        .filter_map(|candidate| Some((distance(wanted, candidate)?, candidate)))
        .collect();
    ranked.sort_unstable();
    ranked.dedup();
    ranked.into_iter().take(limit).map(|(_, name)| name).collect()
}

fn distance(wanted: &str, candidate: &str) -> Option<usize> {
    if wanted.is_empty() || wanted.len() > LENGTH_LIMIT || candidate.len() > LENGTH_LIMIT {
        return None;
    }
    if wanted.eq_ignore_ascii_case(candidate) {
        return Some(0);
    }
    let most = wanted.len().div_ceil(3);
    let near = if wanted.len().abs_diff(candidate.len()) <= most {
        Some(strsim::osa_distance(wanted, candidate)).filter(|distance| *distance <= most)
    } else {
        None
    };
    // A part is worth less than a slip of the finger.
    near.or_else(|| (wanted.len() >= 3 && candidate.contains(wanted)).then_some(most + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_nearest_first() {
        let there = [
            "malloc",
            "calloc",
            "free",
            "__memcpy_chk",
            "puts",
            "fputs",
            "putc",
            "malloc",
        ];
        let cases: [(&str, &[&str]); 8] = [
            ("mallok", &["malloc", "calloc"]),
            ("amlloc", &["malloc", "calloc"]),
            ("Puts", &["puts", "fputs", "putc"]),
            ("memcpy", &["__memcpy_chk"]),
            ("pits", &["puts", "fputs", "putc"]),
            ("connect", &[]),
            ("", &[]),
            ("x", &[]),
        ];
        for (wanted, expected) in cases {
            assert_eq!(nearest(wanted, there, 3), expected, "{wanted}");
        }
        assert_eq!(nearest("mallok", there, 1), ["malloc"]);
        assert_eq!(nearest(&"x".repeat(10_000), there, 3), [""; 0]);
    }
}
