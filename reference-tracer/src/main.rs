//! `rltrace`.
fn main() {}
