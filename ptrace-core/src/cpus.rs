//! Sets of CPUs, and the hand-off on one CPU.

/// A set of CPUs, as sched_setaffinity(2) takes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CpuSet {
    _words: Vec<u64>,
}
