//! Writes a part of recording code: instructions, and with them what is put into them later and what interruptions do.

use iced_x86::code_asm::{AsmMemoryOperand, AsmRegister64, CodeAssembler, CodeLabel, qword_ptr, rsp};
use iced_x86::{BlockEncoderOptions, IcedError};

use crate::record::{Interruption, Move, Part, Patch, Target, Unsupported, What};

/// The assembler has refused.
#[derive(Debug)]
pub(super) struct Refused;

impl From<IcedError> for Refused {
    fn from(_: IcedError) -> Refused {
        Refused
    }
}

impl From<Refused> for Unsupported {
    fn from(_: Refused) -> Unsupported {
        Unsupported::Assembler
    }
}

pub(super) type Made<T = ()> = Result<T, Refused>;

/// A place in the part that is being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label(usize);

/// Where a jump or an interrupted thread goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum To {
    /// In this part.
    Here(Label),
    /// In the stub's other part, or in the common code.
    There(Target),
}

/// Which of a stub's two parts this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Entry,
    Return,
}

/// A part in the making.
pub(super) struct Builder {
    /// The assembler, for all that needs no book-keeping.
    pub(super) asm: CodeAssembler,
    side: Side,
    labels: Vec<CodeLabel>,
    /// What goes into the bytes before a label.
    fills: Vec<(Label, Fill)>,
    moves: Vec<(Label, Label, Interruption, Option<To>)>,
}

#[derive(Debug, Clone, Copy)]
enum Fill {
    Id(u32),
    Slot,
    Jump(To),
}

/// A finished part, and where its labels came to lie.
pub(super) struct Built {
    pub(super) part: Part,
    offsets: Vec<u32>,
}

impl Built {
    pub(super) fn offset(&self, label: Label) -> u32 {
        self.offsets.get(label.0).copied().unwrap_or(0)
    }
}

impl Builder {
    pub(super) fn new(side: Side) -> Made<Builder> {
        Ok(Builder {
            asm: CodeAssembler::new(64)?,
            side,
            labels: Vec::new(),
            fills: Vec::new(),
            moves: Vec::new(),
        })
    }

    /// A label that is yet to be bound.
    pub(super) fn label(&mut self) -> Label {
        self.labels.push(self.asm.create_label());
        Label(self.labels.len() - 1)
    }

    /// The assembler's name of a label, to jump to it.
    pub(super) fn code(&self, label: Label) -> CodeLabel {
        self.labels[label.0]
    }

    /// Binds a label to this place.
    pub(super) fn bind(&mut self, label: Label) -> Made {
        self.asm.set_label(&mut self.labels[label.0])?;
        // An instruction can have only one label; this one has no bytes.
        Ok(self.asm.zero_bytes()?)
    }

    /// A label for this place.
    pub(super) fn here(&mut self) -> Made<Label> {
        let label = self.label();
        self.bind(label)?;
        Ok(label)
    }

    /// A jump that always has five bytes.
    pub(super) fn jump(&mut self, to: To) -> Made {
        self.asm.db(&[0xe9, 0, 0, 0, 0])?; // jmp rel32
        self.fill(Fill::Jump(to))
    }

    /// `mov $slot, reg`
    pub(super) fn load_slot(&mut self, reg: AsmRegister64) -> Made {
        self.asm.mov(reg, u64::MAX)?;
        self.fill(Fill::Slot)
    }

    /// The 32 bits before this place are the first half word of a record: the call point's number is to be added.
    pub(super) fn id(&mut self, mask: u32) -> Made {
        self.fill(Fill::Id(mask))
    }

    fn fill(&mut self, fill: Fill) -> Made {
        let after = self.here()?;
        self.fills.push((after, fill));
        Ok(())
    }

    /// Threads interrupted at `range` go on at `to`. What is said first counts.
    pub(super) fn on(&mut self, why: Interruption, range: (Label, Label), to: To) {
        self.moves.push((range.0, range.1, why, Some(to)));
    }

    /// Threads interrupted at `range` go on where they are.
    pub(super) fn stay(&mut self, why: Interruption, range: (Label, Label)) {
        self.moves.push((range.0, range.1, why, None));
    }

    /// The memory at `rsp + offset`.
    pub(super) fn stack(offset: i32) -> AsmMemoryOperand {
        qword_ptr(rsp + offset)
    }

    /// A word of the control block.
    pub(super) fn block(offset: u32) -> AsmMemoryOperand {
        qword_ptr(offset).gs()
    }

    /// The thread pointer: the word at the base of `fs` is its own address (ELF Handling For Thread-Local Storage, x86-64).
    pub(super) fn thread_pointer() -> AsmMemoryOperand {
        qword_ptr(0).fs()
    }

    /// Makes the bytes. Labels lie at their offsets, whatever the part's address comes to be.
    pub(super) fn finish(mut self) -> Made<Built> {
        let options = BlockEncoderOptions::RETURN_NEW_INSTRUCTION_OFFSETS;
        let assembled = self.asm.assemble_options(0, options)?;
        let offset = |label: &CodeLabel| -> Made<u32> {
            u32::try_from(assembled.label_ip(label)?).map_err(|_| Refused)
        };
        let offsets = self.labels.iter().map(offset).collect::<Made<Vec<u32>>>()?;
        let at = |label: Label| offsets.get(label.0).copied().unwrap_or(0);
        let target = |to: To| match (to, self.side) {
            (To::Here(label), Side::Entry) => Target::Entry(at(label)),
            (To::Here(label), Side::Return) => Target::Return(at(label)),
            (To::There(target), _) => target,
        };
        let patch = |&(after, fill): &(Label, Fill)| {
            let (bytes, what) = match fill {
                Fill::Id(mask) => (4, What::Id(mask)),
                Fill::Slot => (8, What::Slot),
                Fill::Jump(to) => (4, What::Relative(target(to))),
            };
            Patch {
                at: at(after) - bytes,
                what,
            }
        };
        let step = |&(from, to, why, target_of): &(Label, Label, Interruption, Option<To>)| Move {
            from: at(from),
            to: at(to),
            why,
            target: target_of.map(target),
        };
        let part = Part {
            patches: self.fills.iter().map(patch).collect(),
            moves: self.moves.iter().map(step).collect(),
            bytes: assembled.inner.code_buffer.clone(),
        };
        Ok(Built { part, offsets })
    }
}
