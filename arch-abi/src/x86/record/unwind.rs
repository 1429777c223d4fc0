//! How unwinders get through recording code.
//!
//! One description is enough for each area. In that of entries the stack is as at a function's entry. In that of return parts the
//! return address was taken off: the caller's frame (DWARF, "Call Frame Information": the CFA) begins at the stack pointer, and the
//! return address lies where that of a call is kept. The few instructions for which that does not hold are never
//! seen: see `ret::call` and `ret::back`.
//!
//! Unwinders look for descriptions in loaded objects, so that the questions they ask get a further answer: the hooks.

use iced_x86::code_asm::{dword_ptr, eax, esi, qword_ptr, r11, rax, rcx, rdi, rdx, rsi, rsp};

use super::builder::{Builder, Label, Made, Side, To};
use super::{RETURNS_SHIFT, plan, ret};
use crate::addr::Addr;
use crate::record::{Areas, Interruption, Part, REMEMBERED, RETURN_ADDRESS, Target, Template};
use std::ops::Range;

/// What unwinders read, in the area of entries.
pub(super) struct Tables {
    pub(super) bytes: Vec<u8>,
    /// `.eh_frame_hdr`.
    header: Addr,
    /// A `struct link_map` with a base address of 0.
    link_map: Addr,
    /// A `struct dl_phdr_info`.
    info: Addr,
}

// <link.h>, <elf.h>
const LINK_MAP: usize = 5;
const PHDR_INFO: u32 = 64;
const PHDRS: u64 = 3;
const PT_LOAD: u32 = 1;
const PT_GNU_EH_FRAME: u32 = 0x6474_e550;
const PF_R: u32 = 4;
const PF_X: u32 = 1;
/// What `dl_iterate_phdr` calls it: a name, so that it is not taken for the program, and no file's.
const NAME: &[u8; 16] = b"[recording code]";

/// The tables, for a place `offset` or a little more into the area of entries.
pub(super) fn tables(areas: &Areas, offset: usize) -> Tables {
    let padding = offset.next_multiple_of(8) - offset;
    let mut w = Bytes {
        at: areas.entries.start.wrapping_add(offset as u64),
        bytes: vec![0; padding],
    };
    let frame = w.eh_frame(areas);
    let header = w.eh_frame_hdr(areas, frame);
    let name = w.here();
    w.bytes.extend(NAME);
    w.u64s(&[0]);
    let phdrs = w.here();
    for area in [&areas.entries, &areas.returns] {
        let bytes = area.end.get() - area.start.get();
        w.phdr(PT_LOAD, PF_R | PF_X, area.start, bytes);
    }
    w.phdr(PT_GNU_EH_FRAME, PF_R, header, phdrs.get() - header.get());
    let info = w.here();
    // dlpi_addr, _name, _phdr, _phnum, _adds, _subs, _tls_modid, _tls_data
    w.u64s(&[0, name.get(), phdrs.get(), PHDRS, 0, 0, 0, 0]);
    let link_map = w.here();
    // l_addr, l_name, l_ld, l_next, l_prev
    let members: [u64; LINK_MAP] = [0, name.get(), 0, 0, 0];
    w.u64s(&members);
    Tables {
        bytes: w.bytes,
        header,
        link_map,
        info,
    }
}

// DWARF, "Call Frame Information" and "DWARF Expressions"; psABI, "DWARF Register Number Mapping".
const DW_CFA_NOP: u8 = 0;
const DW_CFA_DEF_CFA: u8 = 0x0c;
const DW_CFA_VAL_EXPRESSION: u8 = 0x16;
const DW_CFA_OFFSET: u8 = 0x80;
const DW_OP_DEREF: u8 = 0x06;
const DW_OP_CONST8U: u8 = 0x0e;
const DW_OP_MINUS: u8 = 0x1c;
const DW_OP_PLUS: u8 = 0x22;
const DW_OP_XOR: u8 = 0x27;
const DW_OP_LIT1: u8 = 0x31;
const DW_OP_LIT8: u8 = 0x38;
const RSP: u8 = 7;
const RIP: u8 = 16;
// LSB, "DWARF Exception Header Encoding".
const PCREL_SDATA4: u8 = 0x1b;
const DATAREL_SDATA4: u8 = 0x3b;
const UDATA4: u8 = 0x03;

struct Bytes {
    at: Addr,
    bytes: Vec<u8>,
}

impl Bytes {
    fn here(&self) -> Addr {
        self.at.wrapping_add(self.bytes.len() as u64)
    }

    fn u32(&mut self, value: u32) {
        self.bytes.extend(value.to_le_bytes());
    }

    fn u64s(&mut self, values: &[u64]) {
        self.bytes
            .extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }

    /// The low half of the distance from here.
    fn distance(&mut self, to: Addr) {
        self.u32(crate::record::relative(self.here(), to));
    }

    fn phdr(&mut self, kind: u32, flags: u32, at: Addr, bytes: u64) {
        self.u32(kind);
        self.u32(flags);
        // p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align
        self.u64s(&[0, at.get(), at.get(), bytes, bytes, 1]);
    }

    /// An entry of `.eh_frame` (LSB, "The .eh_frame section"), whose content `write` writes.
    fn entry(&mut self, write: impl FnOnce(&mut Bytes)) -> Addr {
        let start = self.bytes.len();
        let at = self.here();
        self.u32(0);
        write(self);
        while !(self.bytes.len() - start).is_multiple_of(8) {
            self.bytes.push(DW_CFA_NOP);
        }
        let len = u32::try_from(self.bytes.len() - start - 4).unwrap_or(0);
        self.bytes[start..start + 4].copy_from_slice(&len.to_le_bytes());
        at
    }

    /// A common entry and a description for each area. Where the section begins, and where the descriptions do.
    ///
    /// That of return parts is one of signal frames ('S'). Its frame takes no room on the stack, so that the caller's begins where it
    /// does, and GCC's unwinder, which knows frames by where they begin, would take it for the caller's when it looks for
    /// the one with the handler; for a frame that a signal has interrupted it counts one byte less
    /// (`libgcc/unwind-dw2.c`, `uw_identify_context`). Unwinders look up interrupted frames at the address itself, others at
    /// that of the byte before: therefore the return address is told less 1, which lies in the call.
    fn eh_frame(&mut self, areas: &Areas) -> (Addr, [Addr; 2]) {
        let frame = self.common_entry(b"zR\0");
        let entries = self.description(frame, &areas.entries, &[]);
        // The CFA is on the expression's stack.
        let mut value = vec![DW_OP_LIT8, DW_OP_MINUS, DW_OP_CONST8U];
        value.extend(RETURN_ADDRESS.turned.to_le_bytes());
        value.extend([DW_OP_XOR, DW_OP_CONST8U]);
        value.extend(RETURN_ADDRESS.past.to_le_bytes());
        value.extend([DW_OP_PLUS, DW_OP_DEREF, DW_OP_LIT1, DW_OP_MINUS]);
        let length = u8::try_from(value.len()).unwrap_or(0); // one byte of LEB128
        let mut rule = vec![DW_CFA_DEF_CFA, RSP, 0, DW_CFA_VAL_EXPRESSION, RIP, length];
        rule.extend(value);
        let signal_frames = self.common_entry(b"zRS\0");
        let returns = self.description(signal_frames, &areas.returns, &rule);
        self.u32(0);
        self.u32(0);
        (frame, [entries, returns])
    }

    /// The rules at a function's entry.
    fn common_entry(&mut self, augmentation: &[u8]) -> Addr {
        self.entry(|w| {
            w.u32(0); // this is a common entry
            w.bytes.push(1);
            w.bytes.extend(augmentation);
            // alignment factors of code, and of data: -8; the return address' column; what 'R' says
            w.bytes.extend([1, 0x78, RIP, 1, PCREL_SDATA4]);
            w.bytes.extend([DW_CFA_DEF_CFA, RSP, 8, DW_CFA_OFFSET | RIP, 1]);
        })
    }

    fn description(&mut self, cie: Addr, area: &Range<Addr>, rule: &[u8]) -> Addr {
        self.entry(|w| {
            w.u32(crate::record::relative(cie, w.here()));
            w.distance(area.start);
            w.u32(crate::record::relative(area.start, area.end));
            w.bytes.push(0);
            w.bytes.extend(rule);
        })
    }

    /// LSB, "The .eh_frame_hdr section".
    fn eh_frame_hdr(&mut self, areas: &Areas, (frame, descriptions): (Addr, [Addr; 2])) -> Addr {
        let header = self.here();
        self.bytes.extend([1, PCREL_SDATA4, UDATA4, DATAREL_SDATA4]);
        self.distance(frame);
        self.u32(2);
        let [entries, returns] = descriptions;
        let mut rows = [(areas.entries.start, entries), (areas.returns.start, returns)];
        rows.sort_unstable();
        for (start, description) in rows {
            self.u32(crate::record::relative(header, start));
            self.u32(crate::record::relative(header, description));
        }
        self.u32(0);
        header
    }
}

/// The hooks, in the order of `Hook`.
pub(super) fn hooks(areas: &Areas, tables: &Tables, there: Target) -> Made<[Template; 2]> {
    Ok([find_object(areas, tables)?, iterate_phdr(areas, tables, there)?])
}

/// Five bytes to be overwritten: `nopl 0(%rax,%rax)`
const NOP5: [u8; 5] = [0x0f, 0x1f, 0x44, 0, 0];

fn begin(b: &mut Builder) -> Made<Label> {
    b.asm.endbr64()?;
    let start = b.here()?;
    b.asm.db(&NOP5)?;
    Ok(start)
}

fn call_on(b: &mut Builder, bare: Label) -> Made {
    b.bind(bare)?;
    b.load_slot(r11)?;
    Ok(b.asm.jmp(qword_ptr(r11))?)
}

/// `int _dl_find_object(void *pc, struct dl_find_object *result)`: 0 and the object at `pc`, or -1 (glibc manual, "Dynamic Linker
/// Introspection").
fn find_object(areas: &Areas, tables: &Tables) -> Made<Template> {
    let mut b = Builder::new(Side::Entry)?;
    let start = begin(&mut b)?;
    let [bare, entries, returns, fill] = std::array::from_fn(|_| b.label());
    let known = [(entries, &areas.entries), (returns, &areas.returns)];
    for (label, area) in known {
        let shift = (area.end.get() - area.start.get()).trailing_zeros();
        b.asm.mov(rax, rdi)?;
        b.asm.shr(rax, shift)?;
        // An area lies below 2^47 and has at least 2^16 bytes.
        b.asm
            .cmp(rax, i32::try_from(area.start.get() >> shift).unwrap_or(-1))?;
        b.asm.je(b.code(label))?;
    }
    call_on(&mut b, bare)?;
    for (label, area) in known {
        b.bind(label)?;
        b.asm.mov(rax, area.start.get())?;
        b.asm.mov(rcx, area.end.get())?;
        b.asm.jmp(b.code(fill))?;
    }
    b.bind(fill)?;
    // dlfo_flags, _map_start, _map_end, _link_map, _eh_frame (<dlfcn.h>)
    b.asm.mov(qword_ptr(rsi), 0)?;
    b.asm.mov(qword_ptr(rsi + 8), rax)?;
    b.asm.mov(qword_ptr(rsi + 16), rcx)?;
    for (offset, value) in [(24, tables.link_map), (32, tables.header)] {
        b.asm.mov(rax, value.get())?;
        b.asm.mov(qword_ptr(rsi + offset), rax)?;
    }
    b.asm.xor(eax, eax)?;
    b.asm.ret()?;
    let built = b.finish()?;
    Ok(Template {
        retire: [
            Some((built.offset(start), Target::Entry(built.offset(bare)))),
            None,
        ],
        entry: built.part,
        ret: Part::default(),
        site: 0,
    })
}

/// `int dl_iterate_phdr(callback, data)`: what the last callback returned; one that returns other than 0 ends it (dl_iterate_phdr(3)).
///
/// The arguments are remembered as a stub's are. That of a function that ends with a call of this has the places already: it
/// gets no further answer.
fn iterate_phdr(areas: &Areas, tables: &Tables, there: Target) -> Made<Template> {
    let mut b = Builder::new(Side::Entry)?;
    let start = begin(&mut b)?;
    let bare = b.label();
    let from = i32::try_from(RETURNS_SHIFT / 8).unwrap_or(0);
    b.asm.cmp(dword_ptr(rsp + from), plan::tag(areas.returns.start))?;
    b.asm.je(b.code(bare))?;
    let stores = b.here()?;
    for (value, shadow) in [rdi, rsi].into_iter().zip(REMEMBERED) {
        b.asm.mov(r11, rsp)?;
        let place = b.shadow(r11, shadow)?;
        b.asm.mov(place, value)?;
    }
    let go = b.here()?;
    b.on(Interruption::Fault, (stores, go), To::Here(bare));
    b.jump(To::There(Target::Return(0)))?;
    call_on(&mut b, bare)?;
    let built = b.finish()?;
    let [go, bare] = [go, bare].map(|label| Target::Entry(built.offset(label)));

    let mut b = Builder::new(Side::Return)?;
    ret::call(&mut b, go, bare)?;
    let site = b.here()?;
    let out = b.label();
    b.asm.test(eax, eax)?;
    b.asm.jne(b.code(out))?;
    for (to, shadow) in [rcx, rdx].into_iter().zip(REMEMBERED) {
        b.asm.lea(to, qword_ptr(rsp - 8))?;
        let place = b.shadow(to, shadow)?;
        b.asm.mov(to, place)?;
    }
    b.asm.mov(rdi, tables.info.get())?;
    b.asm.mov(esi, PHDR_INFO)?;
    b.asm.call(rcx)?;
    b.bind(out)?;
    b.asm.lea(r11, qword_ptr(rsp - 8))?;
    ret::back(&mut b, there)?;
    let returns = b.finish()?;
    Ok(Template {
        retire: [Some((built.offset(start), bare)), None],
        entry: built.part,
        site: returns.offset(site),
        ret: returns.part,
    })
}
