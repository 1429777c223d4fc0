//! What happens beside recorded calls.

use super::{Input, Put, kind, put_entry};

/// A call that was met by a trap, or a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    /// The thread.
    pub(crate) tid: i32,
    /// The call's number, by which its end refers to it.
    pub(crate) serial: u64,
    /// The call point.
    pub(crate) point: u32,
    /// When.
    pub(crate) time: u64,
    /// The stack pointer.
    pub(crate) sp: u64,
    /// Where it returns to.
    pub(crate) address: u64,
    /// What more is known of a call that a recorded function has jumped to, with whose return it ends.
    pub(crate) jump: Option<Jump<'a>>,
    /// The arguments that are shown, as text.
    pub(crate) args: &'a [u8],
}

/// The registers and the stack of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Jump<'a> {
    /// Integer argument registers.
    pub(crate) words: [u64; 6],
    /// The stack from the stack pointer on.
    pub(crate) stack: &'a [u8],
}

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// A thread is taken up: a new one, or one that executes a program.
    Thread { tid: i32, tgid: i32 },
    /// A thread makes a process: that begins in the calls in which the thread is now.
    Forking { parent: i32, child: i32 },
    /// From now on lines name their thread.
    NameThreads,
    /// What is known of a thread's stack: the high half of its stack pointer, and where the main thread's stack lies.
    Stack { tid: i32, high: u64, main: (u64, u64) },
    /// A call.
    Entry(Entry<'a>),
    /// The return of a call.
    Exit {
        tid: i32,
        serial: u64,
        time: u64,
        took: u64,
        failed: bool,
        words: [u64; 2],
        args: &'a [u8],
        result: &'a [u8],
    },
    /// A call was left without a return.
    Unwound { tid: i32, serial: u64, time: u64 },
    /// All calls of a thread are over: it has ended in them, or their returns will not be seen.
    Close {
        tid: i32,
        time: u64,
        cut_off: bool,
        shown: bool,
    },
    /// A signal is delivered.
    Signal {
        tid: i32,
        time: u64,
        pc: u64,
        number: i32,
    },
    /// A process has ended: with a status, or by a signal that is not 0.
    Exited {
        tid: i32,
        time: u64,
        status: u8,
        signal: i32,
    },
    /// Nothing more comes of a process.
    ProcessEnd { tgid: i32 },
    /// A thread has ended.
    ThreadEnd { tid: i32, time: u64 },
    /// A process has a new program.
    Exec { tid: i32, time: u64 },
    /// Lines that stand by themselves.
    Lines { tgid: i32, text: &'a [u8] },
}

impl<'a> Event<'a> {
    /// Appends it as an entry.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_entry(out, kind::EVENT + self.number(), |out| self.fields(out));
    }

    /// The thread whose records stand before it in the file exactly if they came before it. `None`: it stands by itself.
    pub(crate) const fn thread(&self) -> Option<i32> {
        match *self {
            Self::Entry(Entry { tid, .. })
            | Self::Forking { parent: tid, .. }
            | Self::ProcessEnd { tgid: tid }
            | Self::Thread { tid, .. }
            | Self::Stack { tid, .. }
            | Self::Exit { tid, .. }
            | Self::Unwound { tid, .. }
            | Self::Close { tid, .. }
            | Self::Signal { tid, .. }
            | Self::Exited { tid, .. }
            | Self::ThreadEnd { tid, .. }
            | Self::Exec { tid, .. } => Some(tid),
            Self::NameThreads | Self::Lines { .. } => None,
        }
    }

    /// When it was, if it tells that.
    pub(crate) const fn time(&self) -> Option<u64> {
        match *self {
            Self::Entry(Entry { time, .. })
            | Self::Exit { time, .. }
            | Self::Unwound { time, .. }
            | Self::Close { time, .. }
            | Self::Signal { time, .. }
            | Self::Exited { time, .. }
            | Self::ThreadEnd { time, .. }
            | Self::Exec { time, .. } => Some(time),
            Self::Thread { .. }
            | Self::Forking { .. }
            | Self::NameThreads
            | Self::Stack { .. }
            | Self::ProcessEnd { .. }
            | Self::Lines { .. } => None,
        }
    }

    const fn number(&self) -> u8 {
        match self {
            Self::Thread { .. } => 0,
            Self::Forking { .. } => 1,
            Self::NameThreads => 2,
            Self::Stack { .. } => 3,
            Self::Entry(_) => 4,
            Self::Exit { .. } => 5,
            Self::Unwound { .. } => 6,
            Self::Close { .. } => 7,
            Self::Signal { .. } => 8,
            Self::Exited { .. } => 9,
            Self::ProcessEnd { .. } => 10,
            Self::ThreadEnd { .. } => 11,
            Self::Exec { .. } => 12,
            Self::Lines { .. } => 13,
        }
    }

    fn fields(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Thread { tid, tgid } => {
                out.id(tid);
                out.id(tgid);
            }
            Self::Forking { parent, child } => {
                out.id(parent);
                out.id(child);
            }
            Self::NameThreads => {}
            Self::Stack { tid, high, main } => {
                out.id(tid);
                out.numbers([high, main.0, main.1]);
            }
            Self::Entry(entry) => entry.fields(out),
            Self::Exit {
                tid,
                serial,
                time,
                took,
                failed,
                words: [first, second],
                args,
                result,
            } => {
                out.id(tid);
                out.numbers([serial, time, took, failed.into(), first, second]);
                out.text(args);
                out.text(result);
            }
            Self::Unwound { tid, serial, time } => {
                out.id(tid);
                out.numbers([serial, time]);
            }
            Self::Close {
                tid,
                time,
                cut_off,
                shown,
            } => {
                out.id(tid);
                out.numbers([time, cut_off.into(), shown.into()]);
            }
            Self::Signal {
                tid,
                time,
                pc,
                number,
            } => {
                out.id(tid);
                out.numbers([time, pc]);
                out.id(number);
            }
            Self::Exited {
                tid,
                time,
                status,
                signal,
            } => {
                out.id(tid);
                out.numbers([time, status.into()]);
                out.id(signal);
            }
            Self::ProcessEnd { tgid } => out.id(tgid),
            Self::ThreadEnd { tid, time } | Self::Exec { tid, time } => {
                out.id(tid);
                out.number(time);
            }
            Self::Lines { tgid, text } => {
                out.id(tgid);
                out.text(text);
            }
        }
    }

    /// Takes the event of an entry. `None`: it is none.
    pub(crate) fn take(kind: u8, payload: &'a [u8]) -> Option<Self> {
        let mut input = Input(payload);
        let event = Self::read(kind.checked_sub(kind::EVENT)?, &mut input)?;
        input.end(event)
    }

    fn read(number: u8, input: &mut Input<'a>) -> Option<Self> {
        Some(match number {
            0 => Self::Thread {
                tid: input.id()?,
                tgid: input.id()?,
            },
            1 => Self::Forking {
                parent: input.id()?,
                child: input.id()?,
            },
            2 => Self::NameThreads,
            3 => Self::Stack {
                tid: input.id()?,
                high: input.number()?,
                main: (input.number()?, input.number()?),
            },
            4 => Self::Entry(Entry::read(input)?),
            5 => Self::Exit {
                tid: input.id()?,
                serial: input.number()?,
                time: input.number()?,
                took: input.number()?,
                failed: input.flag()?,
                words: [input.number()?, input.number()?],
                args: input.text()?,
                result: input.text()?,
            },
            6 => Self::Unwound {
                tid: input.id()?,
                serial: input.number()?,
                time: input.number()?,
            },
            7 => Self::Close {
                tid: input.id()?,
                time: input.number()?,
                cut_off: input.flag()?,
                shown: input.flag()?,
            },
            _ => return Self::read_rarer(number, input),
        })
    }

    fn read_rarer(number: u8, input: &mut Input<'a>) -> Option<Self> {
        Some(match number {
            8 => Self::Signal {
                tid: input.id()?,
                time: input.number()?,
                pc: input.number()?,
                number: input.small()?,
            },
            9 => Self::Exited {
                tid: input.id()?,
                time: input.number()?,
                status: input.small()?,
                signal: input.small()?,
            },
            10 => Self::ProcessEnd { tgid: input.id()? },
            11 => Self::ThreadEnd {
                tid: input.id()?,
                time: input.number()?,
            },
            12 => Self::Exec {
                tid: input.id()?,
                time: input.number()?,
            },
            13 => Self::Lines {
                tgid: input.id()?,
                text: input.text()?,
            },
            _ => return None,
        })
    }
}

impl<'a> Entry<'a> {
    fn fields(&self, out: &mut Vec<u8>) {
        out.id(self.tid);
        out.numbers([self.serial, self.point.into(), self.time, self.sp, self.address]);
        out.number(self.jump.is_some().into());
        if let Some(jump) = &self.jump {
            out.numbers(jump.words);
            out.text(jump.stack);
        }
        out.text(self.args);
    }

    fn read(input: &mut Input<'a>) -> Option<Self> {
        Some(Self {
            tid: input.id()?,
            serial: input.number()?,
            point: input.small()?,
            time: input.number()?,
            sp: input.number()?,
            address: input.number()?,
            jump: if input.flag()? {
                Some(Jump::read(input)?)
            } else {
                None
            },
            args: input.text()?,
        })
    }
}

impl<'a> Jump<'a> {
    fn read(input: &mut Input<'a>) -> Option<Self> {
        let mut words = [0; 6];
        for word in &mut words {
            *word = input.number()?;
        }
        Some(Self {
            words,
            stack: input.text()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::HEAD;

    #[test]
    fn events_come_back() {
        let entry = Entry {
            tid: 7,
            serial: 1 << 40,
            point: 3,
            time: 99,
            sp: u64::MAX,
            address: 0x401136,
            jump: None,
            args: b"\"a\"",
        };
        let jump = Jump {
            words: [1, 2, 3, 4, 5, 6],
            stack: b"stack",
        };
        let (tid, tgid, time, serial) = (7, 6, 5, 4);
        let events = [
            Event::Thread { tid, tgid },
            Event::Forking { parent: 7, child: 8 },
            Event::NameThreads,
            Event::Stack {
                tid,
                high: 1 << 46,
                main: (1, 2),
            },
            Event::Entry(entry),
            Event::Entry(Entry {
                jump: Some(jump),
                ..entry
            }),
            Event::Exit {
                tid,
                serial,
                time,
                took: 3,
                failed: true,
                words: [1, 2],
                args: b", 1",
                result: b"0",
            },
            Event::Unwound { tid, serial, time },
            Event::Close {
                tid,
                time,
                cut_off: true,
                shown: false,
            },
            Event::Signal {
                tid,
                time,
                pc: 9,
                number: 11,
            },
            Event::Exited {
                tid,
                time,
                status: 255,
                signal: 0,
            },
            Event::ProcessEnd { tgid },
            Event::ThreadEnd { tid, time },
            Event::Exec { tid, time },
            Event::Lines {
                tgid,
                text: b"lines\n",
            },
        ];
        for event in events {
            let mut out = Vec::new();
            event.put(&mut out);
            let payload = &out[HEAD..];
            assert_eq!(Event::take(out[0], payload), Some(event));
            for len in 0..payload.len() {
                assert_eq!(Event::take(out[0], &payload[..len]), None, "{event:?}: {len}");
            }
        }
        assert_eq!(Event::take(kind::EVENT + 14, &[]), None);
        assert_eq!(Event::take(kind::BLOCK, &[]), None);
    }
}
