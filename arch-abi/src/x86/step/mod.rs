//! Stepping over x86 instructions.

use crate::abi::Arch;
use crate::addr::Addr;
use crate::regs::Regs;
use crate::step::{Access, CopyError, DisplacedCopy, StepError, StepPlan, SteppedCopy, Store};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Op;

impl Op {
    pub(crate) fn constant_pc(&self) -> Option<Addr> {
        todo!()
    }
    pub(crate) fn pc_only(&self, _regs: &Regs) -> Option<Addr> {
        todo!()
    }
    pub(crate) fn load(&self, _regs: &Regs) -> Option<Access> {
        todo!()
    }
    pub(crate) fn run(&self, _regs: &mut Regs, _loaded: u64) -> Option<Store> {
        todo!()
    }
}

pub(crate) fn plan(_arch: Arch, _code: &[u8], _at: Addr) -> Result<StepPlan, StepError> {
    todo!()
}
pub(crate) fn displaced_copy(_plan: &StepPlan, _to: Addr) -> Result<DisplacedCopy, CopyError> {
    todo!()
}
pub(crate) fn stepped_copy(_plan: &StepPlan, _to: Addr) -> Result<SteppedCopy, CopyError> {
    todo!()
}
