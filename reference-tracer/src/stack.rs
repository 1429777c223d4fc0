//! What stacks are made of (`-w`): how to get from a frame of an object's code to its caller, and the names and source
//! lines of its addresses.

pub mod i386;

use std::cell::OnceCell;
use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;

use arch_abi::FileAddr;
use elf_plt::Object;
use framehop::ExplicitModuleSectionInfo;
use object::{Object as _, ObjectSection as _};

use crate::points::demangle;

/// A function's place and name.
#[derive(Debug)]
struct Function {
    addr: u64,
    size: u64,
    name: Box<str>,
}

/// What an object file tells of its code.
pub struct CodeInfo {
    /// How to unwind its frames.
    pub sections: Sections,
    /// Its functions, by address.
    names: Vec<Function>,
    /// The file, for its source lines.
    file: Option<File>,
    lines: OnceCell<Option<addr2line::Loader>>,
    demangled: bool,
}

/// The sections that unwinding needs. Bytes are shared by all processes that map the file.
#[derive(Debug, Clone, Default)]
pub struct Sections {
    /// Where the image begins, as the file states it.
    pub base: u64,
    frames: Option<(u64, Arc<[u8]>)>,
    index: Option<(u64, Arc<[u8]>)>,
    text: Option<(u64, Arc<[u8]>)>,
    got: Option<(u64, u64)>,
}

impl std::fmt::Debug for CodeInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CodeInfo")
            .field("names", &self.names.len())
            .finish_non_exhaustive()
    }
}

impl CodeInfo {
    /// Takes out of these bytes what stacks need; `file` is what they are of, if that is a file, and `debug` its separate
    /// symbol table, if it has one. `demangled`: names are shown as they stand in the
    /// source.
    #[must_use]
    pub fn of(
        file: Option<&File>,
        bytes: &[u8],
        object: &Object<'_>,
        debug: Option<&[u8]>,
        demangled: bool,
    ) -> Self {
        Self {
            sections: Sections::of(bytes, object),
            names: names(object, debug),
            file: file.and_then(|file| file.try_clone().ok()),
            lines: OnceCell::new(),
            demangled,
        }
    }

    /// Appends `function+0x12`; `false` where no function is known there.
    pub fn name(&self, at: FileAddr, out: &mut Vec<u8>) -> bool {
        let after = self.names.partition_point(|name| name.addr <= at.get());
        let Some(found) = after.checked_sub(1).map(|index| &self.names[index]) else {
            return false;
        };
        let within = at.get() - found.addr;
        // A function of no known size reaches to the next one.
        if found.size != 0 && within > found.size {
            return false;
        }
        let clear = self.demangled.then(|| demangle(&found.name)).flatten();
        crate::value::escape_name(clear.as_deref().unwrap_or(&found.name).as_bytes(), out);
        out.extend_from_slice(format!("+0x{within:x}").as_bytes());
        true
    }

    /// Appends `file:line:column` of the source; `false` where the debug information tells none.
    pub fn line(&self, at: FileAddr, out: &mut Vec<u8>) -> bool {
        let loader = self.lines.get_or_init(|| {
            // The file may be gone from its path, or be another there.
            let fd = self.file.as_ref()?.as_raw_fd();
            addr2line::Loader::new(format!("/proc/self/fd/{fd}")).ok()
        });
        let found = loader
            .as_ref()
            .and_then(|loader| loader.find_location(at.get()).ok().flatten());
        let Some((file, line)) = found
            .and_then(|location| Some((location.file?, location.line?, location.column)))
            .map(|(file, line, column)| (file, (line, column)))
        else {
            return false;
        };
        crate::value::escape_name(file.as_bytes(), out);
        out.extend_from_slice(format!(":{}", line.0).as_bytes());
        if let Some(column) = line.1.filter(|&column| column != 0) {
            out.extend_from_slice(format!(":{column}").as_bytes());
        }
        true
    }
}

/// The functions of an object under their public names.
fn names(object: &Object<'_>, debug: Option<&[u8]>) -> Vec<Function> {
    let Ok(functions) = object.functions_with(debug) else {
        return Vec::new();
    };
    let mut names: Vec<_> = functions
        .iter()
        .map(|function| Function {
            addr: function.addr().get(),
            size: function.size(),
            name: String::from_utf8_lossy(function.public().name).into(),
        })
        .collect();
    names.sort_by_key(|name| name.addr);
    names
}

impl Sections {
    fn of(bytes: &[u8], elf: &Object<'_>) -> Self {
        let base = elf.memory_range().start.get();
        let Ok(file) = object::File::parse(bytes) else {
            return Self {
                base,
                ..Self::default()
            };
        };
        let data = |name: &str| {
            let section = file.section_by_name(name)?;
            Some((section.address(), section.data().ok()?.into()))
        };
        let got = file
            .section_by_name(".got")
            .map(|got| (got.address(), got.address().saturating_add(got.size())));
        Self {
            base,
            frames: data(".eh_frame"),
            index: data(".eh_frame_hdr"),
            text: data(".text"),
            got,
        }
    }

    /// As framehop takes them.
    #[must_use]
    pub fn info(&self) -> ExplicitModuleSectionInfo<Arc<[u8]>> {
        let range = |section: &Option<(u64, Arc<[u8]>)>| {
            section
                .as_ref()
                .map(|(at, bytes)| *at..at.saturating_add(bytes.len() as u64))
        };
        let bytes = |section: &Option<(u64, Arc<[u8]>)>| section.as_ref().map(|(_, bytes)| Arc::clone(bytes));
        ExplicitModuleSectionInfo {
            base_svma: self.base,
            text_svma: range(&self.text),
            text: bytes(&self.text),
            eh_frame_svma: range(&self.frames),
            eh_frame: bytes(&self.frames),
            eh_frame_hdr_svma: range(&self.index),
            eh_frame_hdr: bytes(&self.index),
            got_svma: self.got.map(|(start, end)| start..end),
            ..ExplicitModuleSectionInfo::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This very function, in the file that runs it.
    #[test]
    fn an_address_has_a_name_and_a_line() {
        let file = File::open("/proc/self/exe").expect("the test's own file");
        let bytes = std::fs::read("/proc/self/exe").expect("its bytes");
        let object = Object::parse(&bytes).expect("it runs");
        let info = CodeInfo::of(Some(&file), &bytes, &object, None, true);
        let functions = object.functions().expect("it has symbols");
        let own = functions
            .iter()
            .find(|function| {
                String::from_utf8_lossy(function.public().name).contains("an_address_has_a_name_and_a_line")
            })
            .expect("this function");
        let (mut name, mut line) = (Vec::new(), Vec::new());
        assert!(info.name(own.addr(), &mut name) && info.line(own.addr(), &mut line));
        let (name, line) = (String::from_utf8_lossy(&name), String::from_utf8_lossy(&line));
        assert!(
            name.contains("an_address_has_a_name_and_a_line") && name.ends_with("+0x0"),
            "{name}"
        );
        assert!(line.contains("stack.rs:"), "{line}");
        assert!(!info.name(FileAddr::new(0), &mut Vec::new()));
        assert!(info.sections.info().eh_frame.is_some());
    }
}
