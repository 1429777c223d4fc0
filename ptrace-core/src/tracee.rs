//! What is known of one tracee.
use crate::id::Tid;
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Running,
    Stopped,
}
pub(crate) struct Tracee {
    pub(crate) tid: Tid,
}
