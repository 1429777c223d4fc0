//! A prototype made ready for one ABI: where each value lies, and what must be captured for it.

use arch_abi::{Abi, Arch, ArgCursor, CType, Piece, Place, Regs, Source};

use super::types::{Param, Prototype, TypeId, Types};

/// A parameter and where its value lies.
#[derive(Clone, PartialEq, Debug)]
pub struct PlannedParam {
    /// The parameter.
    pub param: Param,
    /// Its place. `None`: its type's size is not known, so nothing after it can be placed.
    pub place: Option<Place>,
}

/// How to show the calls of one function under one ABI. Made once for a call point.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// The ABI.
    pub arch: Arch,
    /// The prototype, or the one that stands for an unknown function.
    pub prototype: Prototype,
    /// Whether the prototype was found; otherwise four words and a word are shown.
    pub known: bool,
    /// The parameters.
    pub params: Vec<PlannedParam>,
    /// The result.
    pub ret: Option<Place>,
    /// Where variadic arguments begin.
    pub rest: ArgCursor,
    args_need_fp: bool,
    args_need_stack: u32,
}

impl Plan {
    /// Places the values of `prototype` under `arch`.
    #[must_use]
    pub fn new(types: &Types, prototype: Prototype, arch: Arch, known: bool) -> Self {
        let abi = arch.abi();
        let mut cursor = abi.first_arg();
        let ret = types
            .c_type(prototype.ret, abi)
            .map(|ty| abi.place_return(&ty, &mut cursor).0);
        let mut lost = ret.is_none();
        let params: Vec<_> = prototype
            .params
            .iter()
            .map(|param| {
                let place = types
                    .c_type(param.ty, abi)
                    .filter(|_| !lost)
                    .map(|ty| Self::place(abi, &ty, &mut cursor));
                lost |= place.is_none();
                PlannedParam {
                    param: param.clone(),
                    place,
                }
            })
            .collect();
        let places = || params.iter().filter_map(|param| param.place.as_ref());
        let packs = params
            .iter()
            .any(|param| param.param.pack.is_some_and(|pack| !pack.va_list));
        let on_stack = if packs && abi.regs().call_args.is_empty() {
            PACK_STACK
        } else {
            0
        };
        Self {
            arch,
            known,
            args_need_fp: places().any(Place::needs_fp),
            args_need_stack: places().map(Place::needs_stack).max().unwrap_or(0) + on_stack,
            ret,
            rest: cursor,
            prototype,
            params,
        }
    }

    /// Places the values of a system call: its arguments are the words of a record, in order, and
    /// its result is the first return word. An argument of 64 bits takes two words where a word has 32, the lower one
    /// first (syscall(2), "Architecture-specific requirements": i386 has no gaps before them).
    #[must_use]
    pub fn of_syscall(types: &Types, prototype: Prototype, arch: Arch, known: bool) -> Self {
        let abi = arch.abi();
        let mut next = 0;
        let place = |param: &Param| {
            let place = syscall_place(types, param.ty, abi, next);
            next += place.as_ref().map_or(1, |place| place.pieces().len());
            PlannedParam {
                param: param.clone(),
                place,
            }
        };
        let params = prototype.params.iter().map(place).collect();
        let ret = syscall_place(types, prototype.ret, abi, 0);
        let cursor = abi.first_arg();
        Self {
            arch,
            known,
            params,
            ret,
            rest: cursor,
            prototype,
            args_need_fp: false,
            args_need_stack: 0,
        }
    }

    fn place(abi: &dyn Abi, ty: &CType, cursor: &mut ArgCursor) -> Place {
        // "Arrays in role of function argument decay into pointers" (ltrace.conf(5), TYPES).
        let ty = if matches!(ty, CType::Array(..)) {
            &CType::Pointer
        } else {
            ty
        };
        abi.place_arg(ty, cursor)
    }

    /// Whether the floating-point registers are wanted at an entry with these registers. Most
    /// functions never want them; of a variadic one the ABI tells whether this call passes any.
    #[must_use]
    pub fn wants_fp_at_entry(&self, regs: &Regs) -> bool {
        self.args_need_fp || (self.has_pack() && self.arch.abi().variadic_uses_vectors(regs))
    }

    /// How many bytes from the stack pointer on are wanted at the entry.
    #[must_use]
    pub fn wants_stack_at_entry(&self) -> usize {
        self.args_need_stack as usize
    }

    /// Whether the floating-point registers are wanted at the return.
    #[must_use]
    pub fn wants_fp_at_return(&self) -> bool {
        self.ret.as_ref().is_some_and(Place::needs_fp)
    }

    /// Whether a parameter says what variadic arguments there are.
    #[must_use]
    pub fn has_pack(&self) -> bool {
        self.params
            .iter()
            .any(|param| param.param.pack.is_some_and(|pack| !pack.va_list))
    }

    /// Whether the function does not return, so that no return needs to be caught.
    #[must_use]
    pub fn noreturn(&self) -> bool {
        self.prototype.noreturn
    }
}

/// The words of a system call from number `first` on that hold a value of type `ty`.
fn syscall_place(types: &Types, ty: TypeId, abi: &dyn Abi, first: usize) -> Option<Place> {
    let word = u32::try_from(abi.word_size()).ok()?;
    // An array is passed by its address, and an integer is the only thing that is larger than a word.
    let size = match types.c_type(ty, abi)? {
        CType::Array(..) => word.into(),
        ty => abi.layout_of(&ty).size.min(8),
    };
    let size = u32::try_from(size).ok()?;
    let piece = |index: u32| {
        Some(Piece {
            source: Source::Int(u8::try_from(first).ok()?.checked_add(u8::try_from(index).ok()?)?),
            at: index * word,
            len: (size - index * word).min(word),
        })
    };
    let pieces: Option<Vec<Piece>> = (0..size.div_ceil(word).max(1)).map(piece).collect();
    Some(Place::of(size.into(), &pieces?))
}

/// How much stack is captured for variadic arguments where all are passed there.
const PACK_STACK: u32 = 64;
