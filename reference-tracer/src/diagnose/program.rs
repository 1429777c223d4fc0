//! Whether a file is a program that can be traced here.

use super::elf::{self, Bytes, Fault};
use super::{Diagnosis, shown};
use crate::output::describe;
use arch_abi::Arch;
use nix::fcntl::OFlag;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Why a file cannot be executed or traced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// An ELF file that is shorter than what its headers tell.
    #[error("{}: Exec format error: a truncated ELF file: {what} would end at byte {end}, the file has {length}", shown(path.as_os_str()))]
    Truncated {
        /// The file.
        path: PathBuf,
        /// The part that does not fit.
        what: &'static str,
        /// Where that part would end.
        end: u64,
        /// How long the file is.
        length: u64,
    },
    /// An ELF file that cannot be loaded.
    #[error("{}: Exec format error: {what}", shown(path.as_os_str()))]
    BadElf {
        /// The file.
        path: PathBuf,
        /// The field.
        what: &'static str,
    },
    /// An ELF file that is no program.
    #[error("{}: Exec format error: it is {kind}, not a program", shown(path.as_os_str()))]
    NotAProgram {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// A program for another machine.
    #[error("{}: Exec format error: it is a program for {machine}; this tracer runs on and traces {}", shown(path.as_os_str()), std::env::consts::ARCH)]
    ForeignMachine {
        /// The file.
        path: PathBuf,
        /// The machine's name.
        machine: String,
    },
    /// Neither ELF nor a script.
    #[error("{}: Exec format error: it is {what}", shown(path.as_os_str()))]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        what: &'static str,
    },
    /// The interpreter that the file names is not there.
    #[error("{}: its interpreter '{}' cannot be used: {}", shown(path.as_os_str()), shown(interpreter.as_os_str()), describe(reason))]
    Interpreter {
        /// The file.
        path: PathBuf,
        /// What it names.
        interpreter: PathBuf,
        /// Why that cannot be used.
        reason: io::Error,
    },
    /// Scripts that are interpreted by scripts, too many in a row.
    #[error("{}: its interpreters are scripts themselves, more than {MAX_INTERPRETERS} in a row", shown(.0.as_os_str()))]
    TooManyInterpreters(PathBuf),
}

impl Diagnosis for ProgramError {
    fn exit_status(&self) -> u8 {
        match self {
            // execve says ENOENT, as for a command that is not there.
            ProgramError::Interpreter { reason, .. } if reason.kind() == io::ErrorKind::NotFound => 127,
            _ => 126,
        }
    }
}

/// What kind of program a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Program {
    /// An ELF program with a dynamic segment and an interpreter.
    Dynamic,
    /// An ELF program without an interpreter: it imports nothing, so that there are no library calls.
    Static,
    /// A script, and the ELF program that will run it in the end.
    Script {
        /// The interpreter of the script.
        interpreter: PathBuf,
    },
    /// A file that only its owner can look into: the kernel can run it, but not tell us what it is.
    Unreadable,
}

/// What can be traced of a program that has no library calls: one line for the user.
#[must_use]
pub fn static_program_advice(path: &Path) -> String {
    format!(
        "{} is a static program: it has no PLT and makes no library calls; system calls (-S) and its own functions (-x NAME) \
         can be traced",
        shown(path.as_os_str())
    )
}

/// How many scripts may be each other's interpreters (`fs/exec.c`, `exec_binprm`).
const MAX_INTERPRETERS: usize = 5;
/// How much of a file the kernel looks at (`BINPRM_BUF_SIZE`).
const HEAD: usize = 256;

/// Examines the file that was found for a command, and the interpreters it leads to.
///
/// # Errors
/// Why it cannot be executed or traced. What the kernel would start is no error, whatever becomes of it.
pub fn examine(path: &Path) -> Result<Program, ProgramError> {
    let mut at = path.to_owned();
    let mut script = None;
    for _ in 0..=MAX_INTERPRETERS {
        let file = match open(&at) {
            Ok(file) => file,
            // Execute permission does not ask for read permission.
            Err(reason) if script.is_none() && reason.kind() == io::ErrorKind::PermissionDenied => {
                return Ok(Program::Unreadable);
            }
            Err(reason) => {
                return Err(ProgramError::Interpreter {
                    path: path.to_owned(),
                    interpreter: at,
                    reason,
                });
            }
        };
        let file = OpenFile {
            length: file.metadata().map_or(0, |found| found.len()),
            file,
        };
        match kind(&at, &file)? {
            Kind::Elf(program) => {
                return Ok(script.map_or(program, |interpreter| Program::Script { interpreter }));
            }
            Kind::Script(interpreter) => {
                script.get_or_insert_with(|| interpreter.clone());
                at = interpreter;
            }
        }
    }
    Err(ProgramError::TooManyInterpreters(path.to_owned()))
}

/// Opens without waiting: a FIFO would let us wait for a writer.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)
}

struct OpenFile {
    file: File,
    length: u64,
}

impl Bytes for OpenFile {
    fn at(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while filled < length {
            match self
                .file
                .read_at(&mut bytes[filled..], offset.saturating_add(filled as u64))
            {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // What cannot be read is not there, for our purpose.
                Err(_) => break,
            }
        }
        bytes.truncate(filled);
        bytes
    }

    fn length(&self) -> u64 {
        self.length
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Elf(Program),
    Script(PathBuf),
}

/// Decides by the bytes alone.
fn kind(path: &Path, file: &dyn Bytes) -> Result<Kind, ProgramError> {
    let head = file.at(0, HEAD);
    if elf::is_elf(&head) {
        return elf_kind(path, file).map(Kind::Elf);
    }
    if let Some(line) = head.strip_prefix(b"#!") {
        return script_interpreter(path, line).map(Kind::Script);
    }
    let unknown = |what| {
        Err(ProgramError::UnknownFormat {
            path: path.to_owned(),
            what,
        })
    };
    match head.as_slice() {
        [] => unknown("an empty file"),
        // What execvp(3) does with ENOEXEC would make a shell read noise: as bash, take a file with a NUL for no text.
        _ if head.contains(&0) => unknown("neither an ELF program nor a script"),
        _ => Ok(Kind::Script(PathBuf::from("/bin/sh"))),
    }
}

fn elf_kind(path: &Path, file: &dyn Bytes) -> Result<Program, ProgramError> {
    let path = path.to_owned();
    let image = match elf::inspect(file) {
        Ok(image) => image,
        Err(Fault::Truncated { what, end }) => {
            return Err(ProgramError::Truncated {
                path,
                what,
                end,
                length: file.length(),
            });
        }
        Err(Fault::Bad(what)) => return Err(ProgramError::BadElf { path, what }),
        Err(Fault::Type(number)) => {
            return Err(ProgramError::NotAProgram {
                path,
                kind: type_name(number),
            });
        }
    };
    if Arch::of_elf(image.machine, image.is_64).is_none() || !image.is_little {
        let machine = elf::machine_name(image.machine, image.is_64, image.is_little);
        return Err(ProgramError::ForeignMachine { path, machine });
    }
    let Some(name) = image.interpreter else {
        return Ok(Program::Static);
    };
    let interpreter = PathBuf::from(OsStr::from_bytes(&name));
    match std::fs::metadata(&interpreter) {
        Ok(_) => Ok(Program::Dynamic),
        Err(reason) => Err(ProgramError::Interpreter {
            path,
            interpreter,
            reason,
        }),
    }
}

/// An article and a name for `e_type` (gABI, "ELF Header").
fn type_name(number: u16) -> &'static str {
    match number {
        1 => "an object file (ET_REL), which still has to be linked",
        4 => "a core dump (ET_CORE)",
        _ => "an ELF file of an unknown type (e_type)",
    }
}

/// The interpreter on a script's first line, `#!` taken off, as the kernel reads it (`fs/binfmt_script.c`): spaces and tabs go, and
/// the name ends at the next of them, at the end of the line or at a NUL.
fn script_interpreter(path: &Path, line: &[u8]) -> Result<PathBuf, ProgramError> {
    let path = path.to_owned();
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = line.iter().position(|byte| !is_space(byte)).unwrap_or(line.len());
    let name = &line[start..];
    let end = name
        .iter()
        .position(|byte| is_space(byte) || matches!(byte, b'\n' | 0));
    match end {
        Some(0) => Err(ProgramError::UnknownFormat {
            path,
            what: "a script that names no interpreter",
        }),
        Some(end) => Ok(PathBuf::from(OsStr::from_bytes(&name[..end]))),
        None if line.len() + 2 >= HEAD => Err(ProgramError::UnknownFormat {
            path,
            what: "a script whose interpreter's name is too long",
        }),
        None if name.is_empty() => Err(ProgramError::UnknownFormat {
            path,
            what: "a script that names no interpreter",
        }),
        None => Ok(PathBuf::from(OsStr::from_bytes(name))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::elf::tests::program;
    use super::*;

    fn told(bytes: &[u8]) -> Result<Kind, String> {
        kind(Path::new("f"), &bytes).map_err(|error| {
            let message = error.to_string();
            assert!(!message.contains('\n'), "{message}");
            format!("{} {message}", error.exit_status())
        })
    }

    #[test]
    fn files_are_told_apart_by_their_bytes() {
        let sh = || Ok(Kind::Script("/bin/sh".into()));
        assert_eq!(
            told(&program(62, Some("/bin/sh"), true)),
            Ok(Kind::Elf(Program::Dynamic))
        );
        assert_eq!(told(&program(62, None, true)), Ok(Kind::Elf(Program::Static)));
        for line in [
            "#!/bin/sh\n",
            "#! \t/bin/sh -e\n",
            "#!/bin/sh",
            "#!/bin/sh\0x",
            "echo\n",
            "#x",
        ] {
            assert_eq!(told(line.as_bytes()), sh(), "{line:?}");
        }
    }

    #[test]
    fn what_cannot_run_is_explained() {
        let mut object = program(62, None, false);
        object[16] = 1;
        let cases: [(Vec<u8>, &str); 11] = [
            (vec![], "126 f: Exec format error: it is an empty file"),
            (
                b"\0\x01noise".to_vec(),
                "126 f: Exec format error: it is neither an ELF program nor a script",
            ),
            (
                b"#!\n".to_vec(),
                "126 f: Exec format error: it is a script that names no interpreter",
            ),
            (
                b"#!  ".to_vec(),
                "126 f: Exec format error: it is a script that names no interpreter",
            ),
            (
                [&b"#!"[..], &[b'a'; 300]].concat(),
                "126 f: Exec format error: it is a script whose interpreter's name is too long",
            ),
            (
                program(62, None, false)[..50].to_vec(),
                "126 f: Exec format error: a truncated ELF file: the ELF header would end at byte 64, the file has 50",
            ),
            (
                program(62, None, false)[..100].to_vec(),
                "126 f: Exec format error: a truncated ELF file: its program headers would end at byte 120, the file has 100",
            ),
            (
                object,
                "126 f: Exec format error: it is an object file (ET_REL), which still has to be linked, not a program",
            ),
            (
                program(183, None, false),
                "126 f: Exec format error: it is a program for AArch64; this tracer runs on and traces x86_64",
            ),
            (
                program(62, Some("/none/ld.so"), false),
                "127 f: its interpreter '/none/ld.so' cannot be used: No such file or directory",
            ),
            (
                b"\x7fELF".to_vec(),
                "126 f: Exec format error: a truncated ELF file: the ELF header would end at byte 52, the file has 4",
            ),
        ];
        for (bytes, message) in cases {
            assert_eq!(
                told(&bytes),
                Err(message.replace("x86_64", std::env::consts::ARCH))
            );
        }
    }

    #[test]
    fn interpreters_are_followed_and_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let script = |name: &str, interpreter: &Path| {
            std::fs::write(at(name), format!("#!{}\n", interpreter.display())).unwrap();
            at(name)
        };
        let inner = script("inner", Path::new("/bin/sh"));
        assert_eq!(
            examine(&script("outer", &inner)).unwrap(),
            Program::Script { interpreter: inner }
        );
        let error = examine(&script("itself", &at("itself"))).unwrap_err();
        assert!(
            matches!(error, ProgramError::TooManyInterpreters(_)) && error.exit_status() == 126,
            "{error}"
        );
        let error = examine(&script("bad", Path::new("/none"))).unwrap_err();
        let path = at("bad");
        let expected = format!(
            "{}: its interpreter '/none' cannot be used: No such file or directory",
            path.display()
        );
        assert_eq!((error.to_string(), error.exit_status()), (expected, 127));
    }

    #[test]
    fn a_fifo_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(matches!(examine(&fifo), Err(ProgramError::UnknownFormat { .. })));
    }

    #[test]
    fn the_system_s_programs_are_programs() {
        assert_eq!(examine(Path::new("/bin/sh")).unwrap(), Program::Dynamic);
        assert_eq!(
            examine(&std::env::current_exe().unwrap()).unwrap(),
            Program::Dynamic
        );
    }
}
