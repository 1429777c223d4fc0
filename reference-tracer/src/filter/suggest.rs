//! The names nearest to one that was not found.

/// Up to `limit` of `candidates` which `wanted` may have been meant to be, nearest first.
#[must_use]
pub fn nearest<'a>(
    _wanted: &str,
    _candidates: impl IntoIterator<Item = &'a str>,
    _limit: usize,
) -> Vec<&'a str> {
    todo!()
}
