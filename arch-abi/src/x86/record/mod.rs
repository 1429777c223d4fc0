//! x86-64: recording code (see `arch_abi::record`).
//!
//! The code of both areas never moves the stack pointer but for the call itself and the return: what it needs to put aside lies in the
//! red zone (psABI, "The Stack Frame"), which signal frames leave alone, and which is free at a function's entry and after
//! its return. So the stack pointer tells unwinders where the caller's frame is: see `unwind`.
//!
//! At a call the stub may change `r11` and the flags (psABI, "Register Usage"), and all that a function may
//! not expect: at a return, what a function need not preserve and returns nothing in.

mod builder;
mod capture;
mod common;
mod entry;
mod plan;
mod ret;
mod routines;
mod slow;
mod unwind;

use iced_x86::code_asm::{AsmRegister64, r8, r9, rcx, rdi, rdx, rsi};

use super::x86_64::X86_64;
use crate::record::{Areas, Common, Recorder, Recording, RingLayout, Template, Unsupported};
use plan::Plan;

/// Where in the red zone a register is put aside, from the stack pointer.
mod aside {
    pub(super) const RAX: i32 = -8;
    pub(super) const RDX: i32 = -16;
    pub(super) const RCX: i32 = -24;
    pub(super) const RSI: i32 = -32;
    pub(super) const RDI: i32 = -40;
    pub(super) const R8: i32 = -48;
    pub(super) const R9: i32 = -56;
    pub(super) const R10: i32 = -64;
    /// Where the stub waits for the slow path: see `slow`.
    pub(super) const LINK: i32 = -72;
    /// A `struct timespec`.
    pub(super) const TIMEOUT: i32 = -88;
    /// Registers of a capture while the kernel is asked: no thread waits meanwhile.
    pub(super) const CAPTURE: [i32; 2] = [-80, -88];
}

/// The integer argument registers, and where they are put aside (psABI, "Parameter Passing").
const INTS: [(AsmRegister64, i32); 6] = [
    (rdi, aside::RDI),
    (rsi, aside::RSI),
    (rdx, aside::RDX),
    (rcx, aside::RCX),
    (r8, aside::R8),
    (r9, aside::R9),
];

/// The first argument on the stack, from the stack pointer at the entry: behind the return address.
const STACK_ARGS: i32 = 8;

/// How far the bits reach that an address shares with all others in the area of return parts.
const RETURNS_SHIFT: u32 = Areas::RETURNS.trailing_zeros();

impl Recorder for X86_64 {
    fn common(&self, areas: &Areas, ring: &RingLayout) -> Result<Common, Unsupported> {
        plan::check_areas(areas)?;
        plan::check_ring(ring)?;
        common::common(areas, ring)
    }

    fn template(&self, recording: &Recording, common: &Common) -> Result<Template, Unsupported> {
        let plan = Plan::new(recording, common)?;
        let entry = entry::entry(&plan)?;
        let ret = ret::ret(&plan, &entry)?;
        Ok(entry.template(ret))
    }
}
