//! What the tracer can do instead of the thread.

use iced_x86::ConditionCode;

use super::Mode;
use crate::addr::Addr;
use crate::regs::{Reg, Regs};
use crate::step::{Access, Store};
use crate::x86::{i386, x86_64};

/// Bits of the flags register (Intel SDM, "EFLAGS Register").
mod flag {
    pub(super) const CARRY: u64 = 1 << 0;
    pub(super) const PARITY: u64 = 1 << 2;
    pub(super) const ADJUST: u64 = 1 << 4;
    pub(super) const ZERO: u64 = 1 << 6;
    pub(super) const SIGN: u64 = 1 << 7;
    pub(super) const OVERFLOW: u64 = 1 << 11;
    /// The flags that an addition or a subtraction sets.
    pub(super) const ARITHMETIC: u64 = CARRY | PARITY | ADJUST | ZERO | SIGN | OVERFLOW;
}

/// One instruction as data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Op {
    pub(super) action: Action,
    /// Where the next instruction lies.
    pub(super) next: u64,
    pub(super) mode: Mode,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    /// Nothing but going on at a fixed place.
    Goto(u64),
    /// Going there if the condition holds.
    Branch(Condition, u64),
    Jump(Operand),
    Call(Operand),
    /// Return, and remove so many bytes of arguments.
    Return(u16),
    Push(Operand),
    Pop(Reg),
    Leave,
    Move {
        to: Operand,
        from: Operand,
    },
    Add {
        to: Reg,
        from: Operand,
        size: u8,
    },
    Subtract {
        to: Option<Reg>,
        left: Operand,
        right: Operand,
        size: u8,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Condition {
    Flags(ConditionCode),
    /// The low bits of the count register are zero.
    CountZero(u64),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Operand {
    /// A register; its low 4 bytes if `size` is 4. Writing those clears the rest.
    Register(Reg, u8),
    Constant(u64),
    Memory(Place, u8),
    /// The address itself: what `lea` is about, its low `size` bytes.
    Address(Place, u8),
}

/// A memory operand's address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) segment: Option<Reg>,
    pub(super) base: Option<Reg>,
    pub(super) index: Option<Reg>,
    pub(super) scale: u8,
    pub(super) displacement: u64,
    pub(super) mode: Mode,
}

impl Place {
    fn address(&self, regs: &Regs) -> u64 {
        let part = |reg: Option<Reg>| reg.map_or(0, |reg| regs.get(reg));
        let offset = self
            .displacement
            .wrapping_add(part(self.base))
            .wrapping_add(part(self.index).wrapping_mul(u64::from(self.scale)));
        self.mode
            .wrap(self.mode.wrap(offset).wrapping_add(part(self.segment)))
    }
}

impl Operand {
    fn load(&self, regs: &Regs) -> Option<Access> {
        match self {
            Self::Memory(place, size) => Some(Access {
                at: Addr::new(place.address(regs)),
                size: usize::from(*size),
            }),
            _ => None,
        }
    }

    fn value(&self, regs: &Regs, loaded: u64) -> u64 {
        match *self {
            Self::Register(reg, size) => low(regs.get(reg), size),
            Self::Constant(value) => value,
            Self::Memory(_, size) => low(loaded, size),
            Self::Address(place, size) => low(place.address(regs), size),
        }
    }
}

/// The low `size` bytes (4 or 8) of `value`.
const fn low(value: u64, size: u8) -> u64 {
    if size == 4 { value & 0xffff_ffff } else { value }
}

impl Condition {
    fn holds(self, regs: &Regs, mode: Mode) -> bool {
        let flags = regs.get(eflags(mode));
        let set = |bit| flags & bit != 0;
        let less = set(flag::SIGN) != set(flag::OVERFLOW);
        match self {
            Self::CountZero(mask) => regs.get(count(mode)) & mask == 0,
            Self::Flags(code) => match code {
                ConditionCode::None => true,
                ConditionCode::o => set(flag::OVERFLOW),
                ConditionCode::no => !set(flag::OVERFLOW),
                ConditionCode::b => set(flag::CARRY),
                ConditionCode::ae => !set(flag::CARRY),
                ConditionCode::e => set(flag::ZERO),
                ConditionCode::ne => !set(flag::ZERO),
                ConditionCode::be => set(flag::CARRY) || set(flag::ZERO),
                ConditionCode::a => !set(flag::CARRY) && !set(flag::ZERO),
                ConditionCode::s => set(flag::SIGN),
                ConditionCode::ns => !set(flag::SIGN),
                ConditionCode::p => set(flag::PARITY),
                ConditionCode::np => !set(flag::PARITY),
                ConditionCode::l => less,
                ConditionCode::ge => !less,
                ConditionCode::le => set(flag::ZERO) || less,
                ConditionCode::g => !set(flag::ZERO) && !less,
            },
        }
    }
}

impl Op {
    pub(crate) fn constant_pc(&self) -> Option<Addr> {
        match self.action {
            Action::Goto(pc) => Some(Addr::new(pc)),
            _ => None,
        }
    }

    pub(crate) fn pc_only(&self, regs: &Regs) -> Option<Addr> {
        let pc = match self.action {
            Action::Goto(pc) => pc,
            Action::Branch(condition, target) if condition.holds(regs, self.mode) => target,
            Action::Branch(..) => self.next,
            Action::Jump(Operand::Register(reg, _)) if is_canonical(regs.get(reg)) => regs.get(reg),
            _ => return None,
        };
        Some(Addr::new(pc))
    }

    pub(crate) fn load(&self, regs: &Regs) -> Option<Access> {
        let word = |at| {
            Some(Access {
                at: Addr::new(at),
                size: usize::from(self.mode.word()),
            })
        };
        match &self.action {
            Action::Goto(_) | Action::Branch(..) => None,
            Action::Jump(from)
            | Action::Call(from)
            | Action::Push(from)
            | Action::Move { from, .. }
            | Action::Add { from, .. } => from.load(regs),
            Action::Subtract { left, right, .. } => left.load(regs).or_else(|| right.load(regs)),
            Action::Return(_) | Action::Pop(_) => word(regs.sp().get()),
            Action::Leave => word(regs.get(frame_pointer(self.mode))),
        }
    }

    pub(crate) fn run(&self, regs: &mut Regs, loaded: u64) -> Option<Store> {
        let (mut pc, mut store) = (self.next, None);
        match self.action {
            Action::Goto(_) | Action::Branch(..) => pc = self.pc_only(regs).map_or(pc, Addr::get),
            Action::Jump(to) => pc = to.value(regs, loaded),
            Action::Call(to) => {
                pc = to.value(regs, loaded);
                store = Some(self.push(regs, self.next));
            }
            Action::Return(arguments) => {
                pc = loaded;
                self.drop_from_stack(regs, u64::from(self.mode.word()) + u64::from(arguments));
            }
            Action::Push(from) => {
                let value = from.value(regs, loaded);
                store = Some(self.push(regs, value));
            }
            Action::Pop(to) => {
                self.drop_from_stack(regs, u64::from(self.mode.word()));
                regs.set(to, loaded); // last: `pop %rsp` keeps what was loaded
            }
            Action::Leave => {
                let frame = frame_pointer(self.mode);
                regs.set_sp(Addr::new(regs.get(frame)));
                self.drop_from_stack(regs, u64::from(self.mode.word()));
                regs.set(frame, loaded);
            }
            Action::Move { to, from } => store = assign(regs, to, from.value(regs, loaded)),
            Action::Add { to, from, size } => self.add(regs, to, from.value(regs, loaded), size),
            Action::Subtract {
                to,
                left,
                right,
                size,
            } => {
                let (left, right) = (left.value(regs, loaded), right.value(regs, loaded));
                self.subtract(regs, to, (left, right), size);
            }
        }
        regs.set_pc(Addr::new(pc));
        store
    }

    fn push(&self, regs: &mut Regs, value: u64) -> Store {
        let at = self
            .mode
            .wrap(regs.sp().get().wrapping_sub(u64::from(self.mode.word())));
        regs.set_sp(Addr::new(at));
        Store::new(Addr::new(at), value, self.mode.word())
    }

    fn drop_from_stack(&self, regs: &mut Regs, bytes: u64) {
        regs.set_sp(Addr::new(self.mode.wrap(regs.sp().get().wrapping_add(bytes))));
    }

    /// Intel SDM, "ADD": sets OF, SF, ZF, AF, CF, and PF by the result.
    fn add(&self, regs: &mut Regs, to: Reg, from: u64, size: u8) {
        let left = low(regs.get(to), size);
        let right = low(from, size);
        let sum = low(left.wrapping_add(right), size);
        let overflow = (left ^ sum) & (right ^ sum);
        self.set_flags(regs, left ^ right ^ sum, sum < left, overflow, sum, size);
        regs.set(to, sum);
    }

    /// Intel SDM, "SUB" and "CMP": sets OF, SF, ZF, AF, CF, and PF by the result.
    fn subtract(&self, regs: &mut Regs, to: Option<Reg>, (left, right): (u64, u64), size: u8) {
        let (left, right) = (low(left, size), low(right, size));
        let difference = low(left.wrapping_sub(right), size);
        let overflow = (left ^ right) & (left ^ difference);
        self.set_flags(
            regs,
            left ^ right ^ difference,
            left < right,
            overflow,
            difference,
            size,
        );
        if let Some(to) = to {
            regs.set(to, difference);
        }
    }

    /// Sets the arithmetic flags: `carries` has a bit set where a carry came in, `overflow` has the sign
    /// bit set on a signed overflow.
    fn set_flags(&self, regs: &mut Regs, carries: u64, carry: bool, overflow: u64, result: u64, size: u8) {
        let sign = 1_u64 << (u32::from(size) * 8 - 1);
        let bit = |condition: bool, bit: u64| if condition { bit } else { 0 };
        let flags = bit(carry, flag::CARRY)
            | bit((result & 0xff).count_ones().is_multiple_of(2), flag::PARITY)
            | bit(carries & 0x10 != 0, flag::ADJUST)
            | bit(result == 0, flag::ZERO)
            | bit(result & sign != 0, flag::SIGN)
            | bit(overflow & sign != 0, flag::OVERFLOW);
        let register = eflags(self.mode);
        regs.set(register, regs.get(register) & !flag::ARITHMETIC | flags);
    }
}

fn assign(regs: &mut Regs, to: Operand, value: u64) -> Option<Store> {
    match to {
        Operand::Register(reg, size) => {
            regs.set(reg, low(value, size));
            None
        }
        Operand::Memory(place, size) => Some(Store::new(Addr::new(place.address(regs)), value, size)),
        Operand::Constant(_) | Operand::Address(..) => None,
    }
}

/// Whether the program counter may hold this: a jump elsewhere faults at the jump, and that is for the
/// processor to do.
const fn is_canonical(pc: u64) -> bool {
    pc < 1 << 47
}

const fn eflags(mode: Mode) -> Reg {
    match mode {
        Mode::Bits32 => i386::EFLAGS,
        Mode::Bits64 => x86_64::EFLAGS,
    }
}

const fn count(mode: Mode) -> Reg {
    match mode {
        Mode::Bits32 => i386::ECX,
        Mode::Bits64 => x86_64::RCX,
    }
}

const fn frame_pointer(mode: Mode) -> Reg {
    match mode {
        Mode::Bits32 => i386::EBP,
        Mode::Bits64 => x86_64::RBP,
    }
}
