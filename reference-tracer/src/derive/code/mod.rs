//! How many arguments a function takes, told from its code: those that it reads before it writes them.
//!
//! The paths from the function's first instruction are followed through jumps, and through calls as far
//! as the object's own code goes; where they leave the object, what is known of the function called says
//! which arguments it takes. An argument that the function ignores can't be seen, so a count can be too
//! small where the last ones are ignored. `tests/registers.rs` measures how often the count is right.

mod i386;
mod x86_64;

use arch_abi::{Arch, FileAddr, Source};
use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, OpKind};
use rustc_hash::FxHashMap;

use crate::proto::Plan;

/// What an analysis may ask about the object whose code it reads.
pub trait Program {
    /// The code from `at` to the end of what the file holds there.
    fn code(&self, at: FileAddr) -> Option<&[u8]>;
    /// The name of the function whose slot, or PLT entry, lies at `at`.
    fn import(&self, at: FileAddr) -> Option<&str>;
    /// The function of this name that the object itself defines.
    fn defined(&self, name: &str) -> Option<FileAddr>;
    /// Whether one of the object's named functions begins at `at`.
    fn is_function(&self, at: FileAddr) -> bool;
    /// The arguments of a function elsewhere, by its prototype.
    fn prototype(&self, name: &str) -> Option<Args>;
}

/// A set of argument places. On x86-64 bits 0 to 5 are the integer registers in the ABI's order and bits
/// 8 to 15 `xmm0` to `xmm7`; on i386 the bits are words on the stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Args(u16);

impl Args {
    /// No place.
    pub const NONE: Self = Self(0);
    /// The first of the vector registers.
    const VECTORS: u16 = 8;

    /// The place of integer register, or word of the stack, number `index`.
    fn int(index: u16) -> Self {
        Self(1u16.checked_shl(index.into()).unwrap_or(0))
    }

    /// The place of vector register number `index`.
    fn vector(index: u16) -> Self {
        Self::int(index.saturating_add(Self::VECTORS))
    }

    /// Those in either.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    const fn is_in(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// The places that a function's prototype gives its arguments.
    #[must_use]
    pub fn of_plan(plan: &Plan) -> Self {
        let places = plan.params.iter().filter_map(|param| param.place.as_ref());
        places
            .flat_map(arch_abi::Place::pieces)
            .fold(Self::NONE, |args, piece| {
                args.or(match (piece.source, plan.arch) {
                    (Source::Int(index), _) if index < 6 => Self::int(index.into()),
                    (Source::Vector(index), _) if index < 8 => Self::vector(index.into()),
                    (Source::Stack(offset), Arch::I386) => i386::words(offset.into(), piece.len.into()),
                    _ => Self::NONE,
                })
            })
    }

    /// How many arguments there are, as the place of the last one tells.
    #[must_use]
    pub fn counts(self, arch: Arch) -> Counts {
        let last = |bits: u16| usize::try_from(u16::BITS - bits.leading_zeros()).unwrap_or(0);
        match arch {
            Arch::X86_64 => Counts {
                ints: last(self.0 & 0x3f),
                floats: last(self.0 >> Self::VECTORS),
            },
            _ => Counts {
                ints: last(self.0),
                floats: 0,
            },
        }
    }
}

/// Numbers of arguments.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// In integer registers, at most six; on i386 words of the stack, at most sixteen.
    pub ints: usize,
    /// In vector registers, at most eight.
    pub floats: usize,
}

/// What a function's code tells of its arguments.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// The arguments.
    pub args: Args,
    /// The function begins by saving the registers for a `va_list`.
    pub variadic: bool,
}

/// How many instructions a function has for saving its arguments.
const MAX_PROLOGUE: usize = 40;
/// How many functions deep calls are followed.
const MAX_DEPTH: usize = 5;
/// The most instructions that are looked at of one function, and of all that are followed for it.
const MAX_INSTRUCTIONS: usize = 2000;
const MAX_IN_ALL: usize = 30_000;

/// The arguments that the function at `at` reads before it writes them. `None`: there is no code, or
/// none that this can read.
#[must_use]
pub fn arguments(program: &dyn Program, arch: Arch, at: FileAddr) -> Option<Found> {
    let machine: &dyn Machine = match arch {
        Arch::X86_64 => &x86_64::X86_64,
        Arch::I386 => &i386::I386,
        _ => return None,
    };
    let mut walk = Walk {
        program,
        machine,
        known: FxHashMap::default(),
        left: MAX_IN_ALL,
    };
    walk.decode(at)?;
    let variadic = walk.is_variadic(at);
    let args = walk.function(at, 0, variadic);
    Some(Found { args, variadic })
}

/// What differs between the machines.
trait Machine {
    /// 32 or 64.
    fn bitness(&self) -> u32;
    /// The places that there are.
    fn all(&self) -> Args;
    /// What an instruction reads and writes of the arguments; changes where they are seen from.
    fn step(&self, instruction: &Instruction, frame: &mut Frame, variadic: bool) -> Access;
    /// What is left of the arguments after a call.
    fn after_call(&self, live: Args) -> Args;
    /// Whether the arguments of this function lie where a function that is called or jumped to here
    /// finds its own.
    fn passes_on(&self, frame: &Frame, is_jump: bool) -> bool;
    /// Whether a function that begins so takes a variable number of arguments.
    fn is_variadic(&self, prologue: &mut dyn Iterator<Item = Instruction>) -> bool;
}

/// The places that one instruction touches.
#[derive(Clone, Copy, Default)]
struct Access {
    reads: Args,
    writes: Args,
}

/// Where the stack of the caller is seen from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Frame {
    /// How far the stack pointer is below what it was at the first instruction; negative numbers are
    /// further down. `None`: not known any more.
    sp: Option<i64>,
    /// The same of the frame pointer.
    bp: Option<i64>,
}

/// A path that is to be followed.
#[derive(Clone, Copy)]
struct Path {
    at: FileAddr,
    live: Args,
    frame: Frame,
}

struct Walk<'a> {
    program: &'a dyn Program,
    machine: &'a dyn Machine,
    /// The functions that were looked at, and how deep: one looked at deeper down was followed less far.
    known: FxHashMap<FileAddr, (usize, Args)>,
    left: usize,
}

/// Where control goes on.
enum Next {
    /// To the next instruction.
    Falls,
    /// There, with the same arguments left.
    To(FileAddr),
    /// Nowhere that is known.
    Ends,
}

impl Walk<'_> {
    fn decode(&self, at: FileAddr) -> Option<Instruction> {
        let code = self.program.code(at)?;
        let code = &code[..code.len().min(15)];
        let mut decoder = Decoder::with_ip(self.machine.bitness(), code, at.get(), DecoderOptions::NONE);
        let instruction = decoder.decode();
        (!instruction.is_invalid()).then_some(instruction)
    }

    /// Whether the function at `at` begins as those do that take a variable number of arguments.
    fn is_variadic(&self, at: FileAddr) -> bool {
        let next = |instruction: &Instruction| {
            let goes_on = matches!(
                instruction.flow_control(),
                FlowControl::Next | FlowControl::ConditionalBranch
            );
            goes_on
                .then(|| self.decode(FileAddr::new(instruction.next_ip())))
                .flatten()
        };
        let mut prologue = std::iter::successors(self.decode(at), next).take(MAX_PROLOGUE);
        self.machine.is_variadic(&mut prologue)
    }

    /// The arguments of the function at `at`.
    fn function(&mut self, at: FileAddr, depth: usize, variadic: bool) -> Args {
        if let Some(&(looked, args)) = self.known.get(&at)
            && looked <= depth
        {
            return args;
        }
        // A function that calls itself takes nothing by that.
        self.known.insert(at, (depth, Args::NONE));
        let mut used = Args::NONE;
        let mut seen: FxHashMap<FileAddr, Args> = FxHashMap::default();
        let frame = Frame {
            sp: Some(0),
            bp: None,
        };
        let mut paths = vec![Path {
            at,
            live: self.machine.all(),
            frame,
        }];
        let mut left = MAX_INSTRUCTIONS.min(self.left);
        while let Some(mut path) = paths.pop() {
            while left > 0 {
                let met = seen.entry(path.at).or_default();
                if path.live.is_in(*met) {
                    break; // no argument is left that was not left here before
                }
                *met = met.or(path.live);
                left -= 1;
                self.left = self.left.saturating_sub(1);
                let Some(instruction) = self.decode(path.at) else {
                    break;
                };
                let access = self.machine.step(&instruction, &mut path.frame, variadic);
                used = used.or(access.reads.and(path.live));
                path.live = path.live.without(access.writes);
                match self.follow(&instruction, at, depth, &mut path, &mut used, &mut paths) {
                    Next::Falls => path.at = FileAddr::new(instruction.next_ip()),
                    Next::To(target) => path.at = target,
                    Next::Ends => break,
                }
            }
        }
        self.known.insert(at, (depth, used));
        used
    }

    fn follow(
        &mut self,
        instruction: &Instruction,
        function: FileAddr,
        depth: usize,
        path: &mut Path,
        used: &mut Args,
        paths: &mut Vec<Path>,
    ) -> Next {
        match instruction.flow_control() {
            FlowControl::Next => Next::Falls,
            FlowControl::ConditionalBranch => {
                if let Some(at) = near_target(instruction) {
                    paths.push(Path { at, ..*path });
                }
                Next::Falls
            }
            FlowControl::Call | FlowControl::IndirectCall => {
                let callee = self.callee(instruction);
                if matches!(&callee, Callee::Import(name) if never_returns(name)) {
                    return Next::Ends;
                }
                if self.machine.passes_on(&path.frame, false) {
                    *used = used.or(self.taken_by(&callee, depth).and(path.live));
                }
                path.live = self.machine.after_call(path.live);
                Next::Falls
            }
            FlowControl::UnconditionalBranch | FlowControl::IndirectBranch => {
                let callee = self.callee(instruction);
                match callee {
                    Callee::Here(at) if at == function || !self.program.is_function(at) => {
                        return Next::To(at);
                    }
                    Callee::Unknown => return Next::Ends,
                    _ => {}
                }
                if self.machine.passes_on(&path.frame, true) {
                    *used = used.or(self.taken_by(&callee, depth).and(path.live));
                }
                Next::Ends
            }
            _ => Next::Ends,
        }
    }

    /// What a call or a jump leads to.
    fn callee(&self, instruction: &Instruction) -> Callee {
        if let Some(name) = self.slot_of(instruction) {
            return self.named(name);
        }
        let Some(target) = near_target(instruction) else {
            return Callee::Unknown;
        };
        if let Some(name) = self.program.import(target) {
            return self.named(name); // a PLT entry
        }
        Callee::Here(target)
    }

    fn named(&self, name: &str) -> Callee {
        match self.program.defined(name) {
            Some(at) => Callee::Here(at),
            None => Callee::Import(name.into()),
        }
    }

    /// The import that an indirect jump or call goes to.
    fn slot_of(&self, instruction: &Instruction) -> Option<&str> {
        let direct = instruction.op_count() > 0
            && instruction.op_kind(0) == OpKind::Memory
            && instruction.is_ip_rel_memory_operand();
        let absolute = self.machine.bitness() == 32
            && instruction.op_count() > 0
            && instruction.op_kind(0) == OpKind::Memory
            && instruction.memory_base() == iced_x86::Register::None
            && instruction.memory_index() == iced_x86::Register::None;
        (direct || absolute)
            .then(|| {
                self.program
                    .import(FileAddr::new(instruction.memory_displacement64()))
            })
            .flatten()
    }

    fn taken_by(&mut self, callee: &Callee, depth: usize) -> Args {
        match callee {
            // Its prototype shows as many words as any system call takes.
            Callee::Import(name) if &**name == "syscall" => Args::NONE,
            Callee::Import(name) => self.program.prototype(name).unwrap_or_default(),
            Callee::Here(at) if depth < MAX_DEPTH && self.left > 0 => {
                let variadic = self.is_variadic(*at);
                self.function(*at, depth + 1, variadic)
            }
            Callee::Here(_) | Callee::Unknown => Args::NONE,
        }
    }
}

/// A function that is called.
enum Callee {
    Import(Box<str>),
    Here(FileAddr),
    Unknown,
}

fn near_target(instruction: &Instruction) -> Option<FileAddr> {
    let near = matches!(
        instruction.op0_kind(),
        OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64
    );
    near.then(|| FileAddr::new(instruction.near_branch_target()))
}

/// Functions after whose calls no code follows that belongs to the path.
fn never_returns(name: &str) -> bool {
    matches!(
        name,
        "abort"
            | "exit"
            | "_exit"
            | "__stack_chk_fail"
            | "__assert_fail"
            | "__chk_fail"
            | "__fortify_fail"
            | "longjmp"
    )
}
