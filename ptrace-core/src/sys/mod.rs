//! All calls into the C library and the kernel, each as a safe function.
#![allow(
    unsafe_code,
    reason = "the one module of this crate that may; each block is argued"
)]

mod memory;
mod ptrace;
mod signals;
mod spawn;
mod threads;
mod users;
mod wait;

use std::ffi::c_long;
use std::io;

pub(crate) use memory::*;
pub(crate) use ptrace::*;
pub(crate) use signals::*;
pub(crate) use spawn::*;
pub(crate) use threads::*;
pub(crate) use users::*;
pub(crate) use wait::*;

/// `siginfo_t` has 128 bytes on every architecture (`SI_MAX_SIZE`, <asm-generic/siginfo.h>).
pub(crate) type RawSigInfo = [u64; 16];

/// The bytes of the kernel's `sigset_t` (not the C library's): 64 signals.
const KERNEL_SIGSET: usize = 8;

/// Gives `errno` if `rc` is -1.
fn check(rc: c_long) -> io::Result<c_long> {
    if rc == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(rc)
    }
}
