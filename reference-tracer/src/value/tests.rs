//! Whole calls, from a prototype's text and a raw record to what is printed.

mod formats;
mod hostile;
mod lenses;

use std::path::Path;

use arch_abi::{Addr, Arch};

use super::*;
use crate::memory::{Layered, NoMemory, Snapshot};
use crate::proto::{Plan, Prototypes};

/// Memory of a process: bytes at an address each.
struct Cells(Vec<(u64, Vec<u8>)>);

impl TargetMemory for Cells {
    fn read(&self, at: Addr, buf: &mut [u8]) -> usize {
        let found = self.0.iter().find_map(|(start, bytes)| {
            let skip = usize::try_from(at.get().checked_sub(*start)?).ok()?;
            bytes.get(skip..).filter(|rest| !rest.is_empty())
        });
        let Some(rest) = found else { return 0 };
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        len
    }
}

struct Names;

impl Describe for Names {
    fn code(&self, at: Addr, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(b"main+0x10");
        at.get() == 0x1010
    }

    fn fd(&self, _tid: i32, fd: i32, out: &mut Vec<u8>) -> bool {
        if fd == 9 {
            out.extend_from_slice(b"/etc/pass\nwd");
        }
        fd == 9
    }
}

fn load(text: &str) -> Prototypes {
    let mut prototypes = Prototypes::new();
    let mut problems = Vec::new();
    prototypes.load(Path::new("test.conf"), text, None, &mut problems);
    assert_eq!(problems, []);
    prototypes
}

struct Case {
    prototypes: Prototypes,
    plan: Plan,
    call: RawCall,
    ret: RawReturn,
    before: Cells,
    after: Cells,
    limits: Limits,
}

impl Case {
    /// A call of `f` of the prototypes in `text`, on x86-64.
    fn new(text: &str, words: &[u64]) -> Self {
        Self::named(load(text), "f", words)
    }

    fn named(mut prototypes: Prototypes, name: &str, words: &[u64]) -> Self {
        let plan = prototypes.plan(Arch::X86_64, &[], name);
        let mut call = RawCall {
            word_count: 6,
            sp: Addr::new(0x7000),
            ..RawCall::default()
        };
        call.words[..words.len()].copy_from_slice(words);
        let (before, after) = (Cells(Vec::new()), Cells(Vec::new()));
        Self {
            prototypes,
            plan,
            call,
            ret: RawReturn::default(),
            before,
            after,
            limits: Limits::default(),
        }
    }

    fn at(mut self, at: u64, bytes: &[u8]) -> Self {
        self.before.0.push((at, bytes.to_vec()));
        self.after.0.push((at, bytes.to_vec()));
        self
    }

    fn then(mut self, at: u64, bytes: &[u8]) -> Self {
        self.after.0.retain(|(start, _)| *start != at);
        self.after.0.push((at, bytes.to_vec()));
        self
    }

    fn returns(mut self, word: u64) -> Self {
        self.ret.words[0] = word;
        self
    }

    fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// `ENTRY | REST) = RESULT`, once with a snapshot before the memory and once without: they agree.
    fn shown(&self) -> String {
        let (with, without) = (self.run(true), self.run(false));
        assert_eq!(with, without, "a snapshot must not change what is shown");
        with
    }

    fn decoder<'a>(&'a self, memory: &'a dyn TargetMemory) -> Decoder<'a> {
        Decoder {
            types: self.prototypes.types(),
            limits: self.limits,
            memory,
            describe: &Names,
        }
    }

    fn run(&self, capture: bool) -> String {
        let types = self.prototypes.types();
        let mut snapshot = Snapshot::default();
        let (mut shown, mut scratch) = (Shown::default(), Scratch::default());
        let (mut entry, mut rest, mut result) = (Vec::new(), Vec::new(), Vec::new());
        if capture {
            wants_at_entry(types, &self.plan, &self.call, self.limits, &mut snapshot);
            snapshot.fill_from(&self.before);
        }
        let memory = Layered {
            snapshot: &snapshot,
            memory: &self.before,
        };
        let decoder = self.decoder(&memory);
        decoder.entry(&self.plan, &self.call, &mut shown, &mut scratch, &mut entry);
        let mut snapshot = Snapshot::default();
        if capture {
            wants_at_return(
                types,
                &self.plan,
                &self.call,
                &self.ret,
                self.limits,
                &mut snapshot,
            );
            snapshot.fill_from(&self.after);
        }
        let memory = Layered {
            snapshot: &snapshot,
            memory: &self.after,
        };
        let decoder = self.decoder(&memory);
        decoder.exit(
            &self.plan,
            &self.call,
            &self.ret,
            &shown,
            &mut scratch,
            &mut rest,
            &mut result,
        );
        let text = [
            &entry[..],
            if shown.complete() { b"" } else { b"|" },
            &rest,
            b" = ",
            &result,
        ]
        .concat();
        String::from_utf8(text).expect("text is UTF-8")
    }
}

#[test]
fn out_parameters_wait_for_the_return() {
    let read = |word| {
        Case::named(Prototypes::new(), "read", &[3, 0x1000, 4096])
            .at(0x1000, b"")
            .then(0x1000, b"root:x\n")
            .returns(word)
    };
    assert_eq!(read(7).shown(), r#"3|, "root:x\n", 4096 = 7"#);
    let mut failed = read(u64::MAX);
    failed.ret.errno = Some(9);
    assert_eq!(
        failed.shown(),
        "3|, 0x1000, 4096 = -1 EBADF (Bad file descriptor)"
    );
    let types = failed.prototypes.types();
    assert!(wants_errno(
        types,
        &failed.plan,
        &failed.call,
        &failed.ret,
        &NoMemory
    ));
    assert!(!wants_errno(
        types,
        &failed.plan,
        &failed.call,
        &RawReturn::default(),
        &NoMemory
    ));
}

#[test]
fn in_out_parameters_show_both_values() {
    let text = "int f(inout int* a, int b, inout uint* c);";
    let case = || {
        Case::new(text, &[0x1000, 2, 0x2000])
            .at(0x1000, &[5, 0, 0, 0])
            .at(0x2000, &[6, 0, 0, 0])
    };
    assert_eq!(case().shown(), "5|, 2, 6 = 0");
    assert_eq!(case().then(0x1000, &[7, 0, 0, 0]).shown(), "5| => 7, 2, 6 = 0");
    assert_eq!(case().then(0x2000, &[7, 0, 0, 0]).shown(), "5|, 2, 6 => 7 = 0");
}

#[test]
fn the_mode_of_open_is_shown_only_where_it_is_there() {
    let open = |flags| {
        let case =
            Case::named(Prototypes::new(), "open", &[0x1000, flags, 0o644]).at(0x1000, b"/etc/passwd\0");
        case.returns(3).shown()
    };
    assert_eq!(open(0x80000), r#""/etc/passwd", O_RDONLY|O_CLOEXEC = 3"#);
    assert_eq!(
        open(0x241),
        r#""/etc/passwd", O_WRONLY|O_CREAT|O_TRUNC, 0644 = 3"#
    );
}

#[test]
fn an_unknown_function_has_four_words() {
    let case = Case::named(
        Prototypes::new(),
        "no_such_function",
        &[1, u64::MAX, 10001, 0x7fff_0000_1234],
    );
    assert!(!case.plan.known);
    assert_eq!(
        case.returns(10000).shown(),
        "1, -1, 0x2711, 0x7fff00001234 = 10000"
    );
}

fn doubles(values: &[f64]) -> arch_abi::FpRegs {
    let mut bytes = [0; 512];
    for (index, value) in values.iter().enumerate() {
        bytes[160 + index * 16..][..8].copy_from_slice(&value.to_le_bytes());
    }
    arch_abi::FpRegs::from_regset(&bytes).expect("an FXSAVE image")
}
