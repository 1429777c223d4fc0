//! Stacks of threads: from the registers of a stop to the addresses of the callers, by the tables that compilers make for
//! exceptions (`.eh_frame`), and to text.
//!
//! What an address is called is found once; a stack costs one read of the thread's memory where it is shallow.

use std::ops::Range;
use std::sync::Arc;

use arch_abi::{Addr, Arch, BaseAddress, Regs, x86};
use elf_plt::Object;
use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{FrameAddress, Module, Unwinder};
use ptrace_core::Memory;
use rustc_hash::FxHashMap;

use super::space::{Loaded, Space};
use crate::stack::{CodeInfo, i386};

/// The most frames of a stack, however many were asked for.
const MAX_FRAMES: usize = 4096;
/// How much of a stack is read at once.
const WINDOW: usize = 16 * 1024;
/// Of how many addresses the text is kept.
const MAX_KNOWN: usize = 1 << 16;

/// The unwinding of one address space.
pub(super) struct Backtracer {
    unwinder: UnwinderX86_64<Arc<[u8]>>,
    cache: CacheX86_64,
    vdso: Option<Vdso>,
    /// The same for i386 code.
    unwinder32: i386::Unwinder,
    /// The objects that are known: their link maps' places and bases.
    modules: Vec<(Addr, Addr)>,
    known: FxHashMap<u64, Box<[u8]>>,
    /// Whether a return address is what handlers of signals return to.
    signal_returns: FxHashMap<u64, bool>,
    window: Vec<u8>,
    /// Where a read of a stack came to its end before: no read need try to get past it.
    end: Addr,
    frames: Vec<u64>,
}

/// The code that the kernel lends to each process (vdso(7)). It is in no file.
struct Vdso {
    range: Range<Addr>,
    base: BaseAddress,
    code: CodeInfo,
}

/// How it is called where it is shown; there is no need to tell its sonames apart.
const VDSO: &str = "[vdso]";
/// How much of it is read at most: it has a few pages.
const MAX_VDSO: usize = 64 * 1024;

impl Vdso {
    fn read(memory: &Memory, at: Addr) -> Option<Self> {
        let mut bytes = vec![0; MAX_VDSO];
        let got = memory.read(at, &mut bytes).ok()?;
        bytes.truncate(got);
        let object = Object::parse(&bytes).ok()?;
        let range = object.memory_range();
        let base = BaseAddress::between(at, range.start);
        Some(Self {
            range: base.resolve(range.start)..base.resolve(range.end),
            base,
            code: CodeInfo::of(None, &bytes, &object, None, false),
        })
    }
}

/// What an address lies in.
struct Place<'a> {
    object: &'a str,
    code: Option<&'a CodeInfo>,
    base: BaseAddress,
}

impl Backtracer {
    fn new() -> Self {
        Self {
            unwinder: UnwinderX86_64::new(),
            cache: CacheX86_64::new(),
            vdso: None,
            unwinder32: i386::Unwinder::default(),
            modules: Vec::new(),
            known: FxHashMap::default(),
            signal_returns: FxHashMap::default(),
            window: Vec::new(),
            end: Addr::new(0),
            frames: Vec::new(),
        }
    }

    /// Knows the objects that there are now, and no others.
    fn follow(&mut self, space: &Space) {
        let objects = &space.objects;
        let same = self.modules.len() == objects.len()
            && objects
                .iter()
                .zip(&self.modules)
                .all(|(object, known)| object.range() == *known);
        if same {
            return;
        }
        self.unwinder = UnwinderX86_64::new();
        self.unwinder32 = i386::Unwinder::default();
        self.known.clear();
        self.signal_returns.clear();
        self.modules = objects.iter().map(Loaded::range).collect();
        for object in objects {
            let Some(code) = &object.file.code else { continue };
            let (start, end) = object.range();
            let name = object.file.names.short().to_owned();
            let module = Module::new(name, start.get()..end.get(), start.get(), code.sections.info());
            self.unwinder.add_module(module);
        }
        self.vdso = space.linkage.vdso.and_then(|at| Vdso::read(&space.memory, at));
        if let Some(Vdso { range, code, .. }) = &self.vdso {
            let (start, end) = (range.start.get(), range.end.get());
            let module = Module::new(VDSO.to_owned(), start..end, start, code.sections.info());
            self.unwinder.add_module(module);
        }
    }

    /// Reads what there is of the stack from `sp` on, as far as a window reaches.
    fn read_window(&mut self, memory: &Memory, sp: Addr) {
        let room = self
            .end
            .offset_from(sp)
            .and_then(|room| usize::try_from(room).ok());
        let wanted = room.filter(|&room| room != 0 && room < WINDOW).unwrap_or(WINDOW);
        self.window.resize(wanted, 0);
        let got = memory.read(sp, &mut self.window).unwrap_or(0);
        if got < wanted {
            self.end = sp.wrapping_add(got as u64);
        }
        self.window.truncate(got);
    }

    /// The callers of the code at `pc`, that first, at most `most`.
    fn walk(&mut self, space: &Space, pc: Addr, regs: &Regs, most: usize) {
        let (memory, arch) = (&space.memory, space.arch);
        self.frames.clear();
        self.read_window(memory, regs.sp());
        let (start, window) = (regs.sp(), &self.window);
        let mut word = |at: u64| read_word(memory, arch, start, window, at).ok_or(());
        if arch == Arch::I386 {
            let mut word = |at| word(at).ok().and_then(|word| u32::try_from(word).ok());
            let vdso = self.vdso.as_ref();
            let place = |at: u32| space.place_of(Addr::new(at.into()), vdso);
            let code = |at: u32, bytes: &mut [u8; 8]| memory.read_exact(Addr::new(at.into()), bytes).is_ok();
            let Some(frame) = registers_i386(pc, regs) else {
                return;
            };
            self.frames.push(pc.get());
            let mut walk = WalkI386 {
                unwinder: &mut self.unwinder32,
                place,
                code,
                word: &mut word,
            };
            walk.callers(frame, most, &mut self.frames);
            return;
        }
        let mut regs = UnwindRegsX86_64::new(pc.get(), regs.sp().get(), regs.get(x86::x86_64::RBP));
        let mut at = FrameAddress::from_instruction_pointer(pc.get());
        self.frames.push(pc.get());
        while self.frames.len() < most {
            // Where the tables end, so does the stack.
            let Ok(Some(caller)) = self
                .unwinder
                .unwind_frame(at, &mut regs, &mut self.cache, &mut word)
            else {
                return;
            };
            self.frames.push(caller);
            let Some(next) = FrameAddress::from_return_address(caller) else {
                return;
            };
            at = next;
            if *self
                .signal_returns
                .entry(caller)
                .or_insert_with(|| is_signal_return(memory, caller))
            {
                let Some(interrupted) = interrupted(regs.sp(), &mut word) else {
                    return;
                };
                regs = interrupted;
                self.frames.push(regs.ip());
                at = FrameAddress::from_instruction_pointer(regs.ip());
            }
        }
    }
}

/// Whether handlers of signals return to this code: `mov $__NR_rt_sigreturn, %rax; syscall`, as glibc, musl and the kernel's
/// documentation have it. The tables tell of it by expressions that the unwinder does not take.
fn is_signal_return(memory: &Memory, at: u64) -> bool {
    const CODE: [u8; 9] = [0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05];
    let mut code = [0; CODE.len()];
    memory.read_exact(Addr::new(at), &mut code).is_ok() && code == CODE
}

/// The registers that a signal interrupted: they lie in the `struct ucontext` that the handler's return address stood
/// below (`asm/sigcontext.h`, `struct sigcontext_64`).
fn interrupted(context: u64, word: &mut impl FnMut(u64) -> Result<u64, ()>) -> Option<UnwindRegsX86_64> {
    const REGISTERS: u64 = 40;
    let mut register = |index: u64| word(context.checked_add(REGISTERS + index * 8)?).ok();
    let (bp, sp, ip) = (register(10)?, register(15)?, register(16)?);
    Some(UnwindRegsX86_64::new(ip, sp, bp))
}

/// A word of the stack: from what was read of it, or by itself.
fn read_word(memory: &Memory, arch: Arch, start: Addr, window: &[u8], at: u64) -> Option<u64> {
    let size = arch.abi().word_size();
    let mut word = [0; 8];
    let skip = Addr::new(at)
        .offset_from(start)
        .and_then(|skip| usize::try_from(skip).ok());
    match skip.and_then(|skip| window.get(skip..skip.checked_add(size)?)) {
        Some(bytes) => word[..size].copy_from_slice(bytes),
        None => memory.read_exact(Addr::new(at), &mut word[..size]).ok()?,
    }
    Some(u64::from_le_bytes(word))
}

/// The way through the frames of i386 code.
struct WalkI386<'u, 'w, P, C, W> {
    unwinder: &'u mut i386::Unwinder,
    /// What lies at an address.
    place: P,
    /// Reads code.
    code: C,
    /// Reads the stack.
    word: &'w mut W,
}

impl<'p, P, C, W> WalkI386<'_, '_, P, C, W>
where
    P: Fn(u32) -> Option<Place<'p>>,
    C: Fn(u32, &mut [u8; 8]) -> bool,
    W: FnMut(u64) -> Option<u32>,
{
    fn callers(&mut self, mut frame: i386::Frame, most: usize, frames: &mut Vec<u64>) {
        // A return address may be the next function's; where a signal came, it is the instruction itself.
        let mut back = 0;
        while frames.len() < most {
            let Some((caller, next)) = self.caller(&frame, back) else {
                return;
            };
            // A stack pointer that does not move is a circle.
            let grows = caller[i386::ESP] > frame[i386::ESP] || next == 0;
            match caller[i386::EIP] {
                Some(eip) if eip != 0 && grows => frames.push(eip.into()),
                _ => return,
            }
            (frame, back) = (caller, next);
        }
    }

    /// The caller: by the tables, or what a signal interrupted, or by the frame pointer; and how far before its address the
    /// instruction is that it is at.
    fn caller(&mut self, frame: &i386::Frame, back: u32) -> Option<(i386::Frame, u32)> {
        let eip = frame[i386::EIP]?;
        let at = eip.wrapping_sub(back);
        let place = (self.place)(at);
        // What handlers of signals return to is the kernel's, but for programs that bring their own.
        let by_signal = place.as_ref().is_none_or(|place| place.object == VDSO);
        if by_signal && let Some(caller) = i386::interrupted(frame, &self.code, self.word) {
            return Some((caller, 0));
        }
        let by_table = place.and_then(|place| {
            let in_file = place.base.unresolve(Addr::new(at.into())).get();
            let sections = &place.code?.sections;
            self.unwinder.caller(frame, (at, in_file), sections, self.word)
        });
        if let Some(caller) = by_table {
            return Some((caller, 1));
        }
        i386::interrupted(frame, &self.code, self.word)
            .map(|caller| (caller, 0))
            .or_else(|| Some((by_frame_pointer(frame, self.word)?, 1)))
    }
}

/// The registers that a thread has, by the numbers of DWARF.
fn registers_i386(pc: Addr, regs: &Regs) -> Option<i386::Frame> {
    use x86::i386::{EAX, EBP, EBX, ECX, EDI, EDX, ESI, ESP};
    let mut frame = [None; 9];
    for (slot, register) in frame.iter_mut().zip([EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI]) {
        *slot = u32::try_from(regs.get(register)).ok();
    }
    frame[i386::EIP] = Some(u32::try_from(pc.get()).ok()?);
    Some(frame)
}

/// The caller of code that keeps a frame pointer.
fn by_frame_pointer(frame: &i386::Frame, word: &mut impl FnMut(u64) -> Option<u32>) -> Option<i386::Frame> {
    let (ebp, esp) = (frame[i386::EBP]?, frame[i386::ESP]?);
    if ebp < esp || !ebp.is_multiple_of(4) {
        return None;
    }
    let mut caller = [None; 9];
    caller[i386::EBP] = Some(word(ebp.into())?);
    caller[i386::EIP] = Some(word(u64::from(ebp) + 4)?);
    caller[i386::ESP] = Some(ebp.checked_add(8)?);
    Some(caller)
}

impl Space {
    /// Appends the stack of a thread that stands at `pc`: ` > object(function+0x12) [address]` for each frame, with its
    /// source line where that is known, and an empty line.
    pub(super) fn backtrace(&mut self, pc: Addr, regs: &Regs, most: usize, out: &mut Vec<u8>) {
        let most = if most == 0 {
            MAX_FRAMES
        } else {
            most.min(MAX_FRAMES)
        };
        let mut tracer = self
            .backtracer
            .take()
            .unwrap_or_else(|| Box::new(Backtracer::new()));
        tracer.follow(self);
        tracer.walk(self, pc, regs, most);
        if tracer.known.len() > MAX_KNOWN {
            tracer.known.clear();
            tracer.signal_returns.clear();
        }
        for at in std::mem::take(&mut tracer.frames) {
            let text = tracer
                .known
                .entry(at)
                .or_insert_with(|| self.frame_text(Addr::new(at), tracer.vdso.as_ref()));
            out.extend_from_slice(text);
        }
        out.push(b'\n');
        self.backtracer = Some(tracer);
    }

    /// What lies at `at`.
    fn place_of<'a>(&'a self, at: Addr, vdso: Option<&'a Vdso>) -> Option<Place<'a>> {
        let object = self.objects.iter().find(|object| {
            let (start, end) = object.range();
            (start..end).contains(&at)
        });
        if let Some(object) = object {
            return Some(Place {
                object: object.file.names.short(),
                code: object.file.code.as_deref(),
                base: object.base,
            });
        }
        let vdso = vdso.filter(|vdso| vdso.range.contains(&at))?;
        Some(Place {
            object: VDSO,
            code: Some(&vdso.code),
            base: vdso.base,
        })
    }

    /// One frame as it is shown.
    fn frame_text(&self, at: Addr, vdso: Option<&Vdso>) -> Box<[u8]> {
        let mut out = b" > ".to_vec();
        let Some(Place { object, code, base }) = self.place_of(at, vdso) else {
            out.extend_from_slice(format!("[unknown] [{:x}]\n", at.get()).as_bytes());
            return out.into();
        };
        crate::value::escape_name(object.as_bytes(), &mut out);
        out.push(b'(');
        // A return address may be the next function's.
        let (shown, call) = (base.unresolve(at), base.unresolve(at.wrapping_sub(1)));
        if !code.is_some_and(|code| code.name(shown, &mut out)) {
            out.extend_from_slice(format!("+0x{:x}", shown.get()).as_bytes());
        }
        out.extend_from_slice(format!(") [{:x}]\n", at.get()).as_bytes());
        let line = out.len();
        out.push(b'\t');
        if code.is_some_and(|code| code.line(call, &mut out)) {
            out.push(b'\n');
        } else {
            out.truncate(line);
        }
        out.into()
    }
}
