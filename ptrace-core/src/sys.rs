//! All calls into the C library and the kernel.
#![allow(
    unsafe_code,
    reason = "the one file of this crate that may; each block is argued"
)]
use crate::command::User;
use crate::stopped::SignalSet;
pub(crate) type RawSigInfo = [u64; 16];
pub(crate) fn lookup_user(_name: &str) -> std::io::Result<User> {
    todo!()
}
pub(crate) fn ignored_signals() -> SignalSet {
    todo!()
}
pub(crate) fn blocked_signals() -> SignalSet {
    todo!()
}
