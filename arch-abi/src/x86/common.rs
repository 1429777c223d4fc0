//! What x86-64 and i386 answer alike, or with the same code in another mode.

/// The methods of `Abi` that the two implement alike; `$mode` is a variant of `Arch` and of `stub::Mode`.
macro_rules! common {
    ($mode:ident) => {
        fn arch(&self) -> crate::abi::Arch {
            crate::abi::Arch::$mode
        }

        fn trap(&self) -> &'static [u8] {
            &[0xcc] // int3
        }

        fn pc_past_trap(&self) -> u64 {
            1
        }

        fn max_instruction(&self) -> usize {
            15 // Intel SDM, "Instruction Format"
        }

        fn step(
            &self,
            code: &[u8],
            at: crate::addr::Addr,
        ) -> Result<crate::step::StepPlan, crate::step::StepError> {
            super::step::plan(self.arch(), code, at)
        }

        fn displaced_copy(
            &self,
            plan: &crate::step::StepPlan,
            to: crate::addr::Addr,
        ) -> Result<crate::step::DisplacedCopy, crate::step::CopyError> {
            super::step::displaced_copy(plan, to)
        }

        fn stepped_copy(
            &self,
            plan: &crate::step::StepPlan,
            to: crate::addr::Addr,
        ) -> Result<crate::step::SteppedCopy, crate::step::CopyError> {
            super::step::stepped_copy(plan, to)
        }

        fn guard(&self, code: crate::addr::Addr, data: crate::addr::Addr) -> Option<crate::guard::Guard> {
            super::guard::assemble(super::stub::Mode::$mode, code, data)
        }

        fn plt_code(&self, code: &[u8], at: crate::addr::FileAddr) -> Option<crate::plt::PltCode> {
            super::stub::plt_code(super::stub::Mode::$mode, code, at)
        }

        fn slot_operands(
            &self,
            code: &[u8],
            at: crate::addr::FileAddr,
            got: Option<crate::addr::FileAddr>,
            slots: &std::ops::RangeInclusive<crate::addr::FileAddr>,
            found: &mut dyn FnMut(usize, crate::addr::FileAddr),
        ) {
            super::slot_ref::slot_operands(super::stub::Mode::$mode, code, at, got, slots, found);
        }

        fn slot_references(
            &self,
            code: &[u8],
            at: crate::addr::FileAddr,
            got: Option<crate::addr::FileAddr>,
            operands: &[usize],
            found: &mut dyn FnMut(crate::plt::SlotReference),
        ) {
            super::slot_ref::slot_references(super::stub::Mode::$mode, code, at, got, operands, found);
        }
    };
}

pub(super) use common;
