//! Stacks of threads: from the registers of a stop to the addresses of the callers, by the tables that compilers make for
//! exceptions (`.eh_frame`), and to text.
//!
//! What an address is called is found once; a stack costs one read of the thread's memory where it is shallow.

use std::sync::Arc;

use arch_abi::{Addr, Arch, Regs, x86};
use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{FrameAddress, Module, Unwinder};
use ptrace_core::Memory;
use rustc_hash::FxHashMap;

use super::space::{Loaded, Space};

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
    /// The objects that are known: their link maps' places and bases.
    modules: Vec<(Addr, Addr)>,
    known: FxHashMap<u64, Box<[u8]>>,
    /// Whether a return address is what handlers of signals return to.
    signal_returns: FxHashMap<u64, bool>,
    window: Vec<u8>,
    frames: Vec<u64>,
}

impl Backtracer {
    fn new() -> Self {
        Self {
            unwinder: UnwinderX86_64::new(),
            cache: CacheX86_64::new(),
            modules: Vec::new(),
            known: FxHashMap::default(),
            signal_returns: FxHashMap::default(),
            window: Vec::new(),
            frames: Vec::new(),
        }
    }

    /// Knows the objects that there are now, and no others.
    fn follow(&mut self, objects: &[Loaded]) {
        let same = self.modules.len() == objects.len()
            && objects
                .iter()
                .zip(&self.modules)
                .all(|(object, known)| object.range() == *known);
        if same {
            return;
        }
        self.unwinder = UnwinderX86_64::new();
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
    }

    /// The callers of the code at `pc`, that first, at most `most`.
    fn walk(&mut self, memory: &Memory, arch: Arch, pc: Addr, regs: &Regs, most: usize) {
        self.frames.clear();
        self.window.resize(WINDOW, 0);
        let got = memory.read(regs.sp(), &mut self.window).unwrap_or(0);
        self.window.truncate(got);
        let (start, window) = (regs.sp(), &self.window);
        let mut word = |at: u64| read_word(memory, arch, start, window, at).ok_or(());
        if arch == Arch::I386 {
            by_frame_pointer(pc, regs, most, &mut self.frames, &mut word);
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

/// The frames of code that keeps frame pointers: all that can be told of an i386 program here.
fn by_frame_pointer(
    pc: Addr,
    regs: &Regs,
    most: usize,
    frames: &mut Vec<u64>,
    word: &mut impl FnMut(u64) -> Result<u64, ()>,
) {
    frames.push(pc.get());
    let mut frame = regs.get(x86::i386::EBP);
    let mut above = regs.sp().get();
    while frames.len() < most && frame >= above && frame.is_multiple_of(4) {
        let (Ok(next), Ok(caller)) = (word(frame), word(frame + 4)) else {
            return;
        };
        if caller == 0 {
            return;
        }
        frames.push(caller);
        above = frame + 8;
        frame = next;
    }
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
        tracer.follow(&self.objects);
        tracer.walk(&self.memory, self.arch, pc, regs, most);
        if tracer.known.len() > MAX_KNOWN {
            tracer.known.clear();
            tracer.signal_returns.clear();
        }
        for at in std::mem::take(&mut tracer.frames) {
            let text = tracer
                .known
                .entry(at)
                .or_insert_with(|| self.frame_text(Addr::new(at)));
            out.extend_from_slice(text);
        }
        out.push(b'\n');
        self.backtracer = Some(tracer);
    }

    /// One frame as it is shown.
    fn frame_text(&self, at: Addr) -> Box<[u8]> {
        let mut out = b" > ".to_vec();
        let object = self.objects.iter().find(|object| {
            let (start, end) = object.range();
            (start..end).contains(&at)
        });
        let Some(object) = object else {
            out.extend_from_slice(format!("[unknown] [{:x}]\n", at.get()).as_bytes());
            return out.into();
        };
        crate::value::escape_name(object.file.names.short().as_bytes(), &mut out);
        out.push(b'(');
        let code = object.file.code.as_deref();
        // A return address may be the next function's.
        let (shown, call) = (
            object.base.unresolve(at),
            object.base.unresolve(at.wrapping_sub(1)),
        );
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
