//! Memory as the program would see it without traps.

use arch_abi::Addr;

use crate::{CodeMemory, Traps};

impl Traps {
    /// Puts the original bytes into `buf`, which was read from `at`.
    pub fn mask(&self, at: Addr, buf: &mut [u8]) {
        todo!()
    }
}

/// Memory with the original bytes in the place of traps: reads show them, and writes change them and leave
/// the traps in.
#[derive(Debug)]
pub struct OriginalMemory<'a, M> {
    traps: &'a mut Traps,
    mem: &'a mut M,
}

impl<'a, M: CodeMemory> OriginalMemory<'a, M> {
    /// `mem` without `traps`.
    pub fn new(traps: &'a mut Traps, mem: &'a mut M) -> Self {
        Self { traps, mem }
    }
}

impl<M: CodeMemory> CodeMemory for OriginalMemory<'_, M> {
    type Error = M::Error;

    fn read(&self, at: Addr, buf: &mut [u8]) -> Result<(), M::Error> {
        self.mem.read(at, buf)?;
        self.traps.mask(at, buf);
        Ok(())
    }

    fn write(&mut self, at: Addr, bytes: &[u8]) -> Result<(), M::Error> {
        todo!()
    }
}
