//! The tools that are compared, and how each is told to trace a workload.

use crate::fixture::Fixtures;
use crate::machine;
use crate::process::Line;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A tool in one of the ways in which it is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tool {
    /// The program alone.
    Untraced,
    /// As it is run when nothing is said.
    Rltrace,
    /// With `--no-handoff`.
    RltraceNoHandoff,
    /// As it is run when nothing is said.
    Ltrace,
    /// Kept on one CPU together with its program, which is where it is quickest.
    LtracePinned,
    /// System calls, not library calls: what tracing with two stops costs elsewhere.
    Strace,
    /// Records in the program's own address space.
    Uftrace,
    /// With a `dprintf`: entries only.
    Gdb,
    /// With an uprobe and an uretprobe.
    Perf,
}

impl Tool {
    /// All of them, in the order of the table.
    pub const ALL: [Tool; 9] = [
        Tool::Untraced,
        Tool::Rltrace,
        Tool::RltraceNoHandoff,
        Tool::Ltrace,
        Tool::LtracePinned,
        Tool::Strace,
        Tool::Uftrace,
        Tool::Gdb,
        Tool::Perf,
    ];

    /// What the table calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Tool::Untraced => "untraced",
            Tool::Rltrace => "rltrace",
            Tool::RltraceNoHandoff => "rltrace --no-handoff",
            Tool::Ltrace => "ltrace",
            Tool::LtracePinned => "ltrace, one CPU",
            Tool::Strace => "strace (system calls)",
            Tool::Uftrace => "uftrace",
            Tool::Gdb => "gdb dprintf (entries)",
            Tool::Perf => "perf uprobe + uretprobe",
        }
    }

    /// Whether it can trace `workload`, and is shown there.
    #[must_use]
    pub fn traces(self, workload: Workload) -> bool {
        use Workload::{Imports, Ints, Ls, Summary, Syscall, Text, Threads, True};
        match self {
            Tool::Untraced | Tool::Rltrace | Tool::Ltrace => true,
            Tool::RltraceNoHandoff => matches!(workload, Ints | Threads),
            Tool::LtracePinned => workload == Ints,
            Tool::Strace => matches!(workload, Syscall | True | Ls),
            Tool::Uftrace => workload != Summary,
            Tool::Gdb => matches!(workload, Ints | Text | Threads | Imports),
            Tool::Perf => matches!(workload, Ints | Text | Threads),
        }
    }

    /// Whether it can attach to a running program, and is shown there.
    #[must_use]
    pub fn attaches(self) -> bool {
        matches!(self, Tool::Rltrace | Tool::Ltrace | Tool::Strace)
    }

    /// What says the tool's version, and how it is asked.
    fn asked(self) -> Option<(&'static str, &'static str)> {
        Some(match self {
            Tool::Untraced | Tool::Rltrace | Tool::RltraceNoHandoff => return None,
            Tool::Ltrace | Tool::LtracePinned => ("ltrace", "--version"),
            Tool::Strace => ("strace", "--version"),
            Tool::Uftrace => ("uftrace", "--version"),
            Tool::Gdb => ("gdb", "--version"),
            Tool::Perf => ("perf", "--version"),
        })
    }
}

/// What is traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Workload {
    /// A loop of calls with two integers, each written to a file.
    Ints,
    /// The same with a string of 32 bytes.
    Text,
    /// Four threads at once that call with two integers.
    Threads,
    /// Two integers, counted only: `-c`.
    Summary,
    /// A loop of a library function that is one system call.
    Syscall,
    /// `true`, all its calls.
    True,
    /// `ls` of a folder, all its calls.
    Ls,
    /// A program that calls 20,000 imports, one of them selected.
    Imports,
}

/// How many threads [`Workload::Threads`] has.
pub const THREADS: u32 = 4;

impl Workload {
    /// All of them, in the order of the table.
    pub const ALL: [Workload; 8] = [
        Workload::Ints,
        Workload::Text,
        Workload::Threads,
        Workload::Summary,
        Workload::Syscall,
        Workload::True,
        Workload::Ls,
        Workload::Imports,
    ];

    /// A heading.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Workload::Ints => "A call with two integers, to a file",
            Workload::Text => "A call with a string, to a file",
            Workload::Threads => "A call with two integers, four threads at once",
            Workload::Summary => "A call, counted (-c)",
            Workload::Syscall => "A library call that is a system call (getppid), to a file",
            Workload::True => "true, start to finish",
            Workload::Ls => "ls, start to finish",
            Workload::Imports => "20,000 imports, one selected, start to finish",
        }
    }

    /// The word for it on the command line and in the TSV file.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Workload::Ints => "ints",
            Workload::Text => "text",
            Workload::Threads => "threads",
            Workload::Summary => "summary",
            Workload::Syscall => "syscall",
            Workload::True => "true",
            Workload::Ls => "ls",
            Workload::Imports => "imports",
        }
    }

    /// Whether it is a loop that times itself; else the whole run is what counts.
    #[must_use]
    pub fn is_loop(self) -> bool {
        !matches!(self, Workload::True | Workload::Ls | Workload::Imports)
    }

    /// The function that is selected, where it is one.
    #[must_use]
    pub fn function(self) -> Option<&'static str> {
        match self {
            Workload::Ints | Workload::Threads | Workload::Summary => Some("work2"),
            Workload::Text => Some("work_text"),
            Workload::Syscall => Some("getppid"),
            Workload::Imports => Some("f10000"),
            Workload::True | Workload::Ls => None,
        }
    }

    fn threads(self) -> u32 {
        if self == Workload::Threads { THREADS } else { 1 }
    }
}

/// How many times a tool called the function in a loop: few for slow tools, so that a run takes a second or two.
#[must_use]
pub fn calls(tool: Tool, workload: Workload) -> u32 {
    if workload == Workload::Imports {
        return 1;
    }
    let calls = match tool {
        Tool::Untraced => 1_000_000,
        Tool::Rltrace => 20_000,
        Tool::RltraceNoHandoff | Tool::Strace => 10_000,
        Tool::Ltrace | Tool::LtracePinned => 4_000,
        Tool::Uftrace => 400_000,
        Tool::Gdb => 2_000,
        Tool::Perf => 40_000,
    };
    if workload == Workload::Syscall && tool == Tool::Untraced {
        200_000
    } else {
        calls
    }
}

/// Where the records of a run are counted, to know that the tool has traced what it was timed for.
#[derive(Clone, Debug)]
pub enum Count {
    /// Nothing to count: the whole run is timed, or nothing is traced.
    Nothing,
    /// Lines of a file with this text in them.
    Lines(PathBuf, String),
    /// The row of a summary that ends with this function, in a file.
    Row(PathBuf, String),
    /// What `uftrace report` says of the folder.
    Uftrace(PathBuf, String),
    /// What `perf record` says of its samples; two a call.
    Perf(PathBuf),
}

/// A tool's command for a workload.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// What is run.
    pub line: Line,
    /// How often the function is called while the clock runs, by all threads together.
    pub calls: u32,
    /// How to see that all were recorded.
    pub count: Count,
}

/// Everything that commands are made of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The programs.
    pub fixtures: Fixtures,
    /// The tracer of this workspace.
    pub rltrace: PathBuf,
    /// Whether it reads prototypes from a file (`-F`).
    pub rltrace_config: bool,
    /// A folder for what the runs write.
    pub scratch: PathBuf,
    /// The group of perf's probes: of this run alone, since they are the whole system's.
    pub probes: String,
}

impl Setup {
    /// The version of the program behind `tool`; nothing where it is missing.
    #[must_use]
    pub fn version(&self, tool: Tool) -> Option<String> {
        match tool.asked() {
            Some((program, option)) => machine::version(program, option, &self.scratch),
            None if tool == Tool::Untraced => Some(String::new()),
            None => machine::version(&self.rltrace.to_string_lossy(), "--version", &self.scratch),
        }
    }

    /// The file into which a loop writes its time.
    #[must_use]
    pub fn report(&self) -> PathBuf {
        self.scratch.join("report")
    }

    /// How `tool` traces `workload`; nothing where it cannot ([`Tool::traces`]).
    #[must_use]
    pub fn invocation(&self, tool: Tool, workload: Workload) -> Option<Invocation> {
        self.invocation_of(tool, workload, calls(tool, workload))
    }

    /// The same for another number of calls than [`calls`] says, rounded up to the same number for each thread.
    #[must_use]
    pub fn invocation_of(&self, tool: Tool, workload: Workload, calls: u32) -> Option<Invocation> {
        if !tool.traces(workload) {
            return None;
        }
        let each = calls.div_ceil(workload.threads()).max(1);
        let program = self.program(workload, each);
        let (prefix, count) = match tool {
            Tool::Untraced => (Line::new::<_, &str>([]), Count::Nothing),
            Tool::Rltrace => self.rltrace(workload, &[]),
            Tool::RltraceNoHandoff => self.rltrace(workload, &["--no-handoff"]),
            Tool::Ltrace => self.ltrace(workload, Line::new(["ltrace"])),
            Tool::LtracePinned => self.ltrace(workload, Line::new(["taskset", "-c", "0", "ltrace"])),
            Tool::Strace => self.strace(workload),
            Tool::Uftrace => self.uftrace(workload)?,
            Tool::Gdb => self.gdb(workload)?,
            Tool::Perf => self.perf(workload)?,
        };
        Some(Invocation {
            line: prefix.and(program.0),
            calls: each * workload.threads(),
            count,
        })
    }

    fn program(&self, workload: Workload, calls: u32) -> Line {
        let kind = match workload {
            Workload::Ints | Workload::Threads | Workload::Summary => "ints",
            Workload::Text => "text",
            Workload::Syscall => "getppid",
            Workload::True => return Line::new(["/bin/true"]),
            Workload::Ls => return Line::new(["/bin/ls"]).and([self.fixtures.dir()]),
            Workload::Imports => return Line::new([self.fixtures.path("many")]),
        };
        let words: [OsString; 2] = [self.fixtures.path("loop").into(), self.report().into()];
        Line::new(words).and([kind.to_owned(), calls.to_string(), workload.threads().to_string()])
    }

    fn rltrace(&self, workload: Workload, more: &[&str]) -> (Line, Count) {
        let mut line = Line::new([&self.rltrace]);
        if self.rltrace_config {
            line = line.and(["-F"]).and([self.fixtures.path("work.conf")]);
        }
        let (line, count) = self.as_ltrace(line, workload);
        (line.and(more).and(["--"]), count)
    }

    fn ltrace(&self, workload: Workload, line: Line) -> (Line, Count) {
        // Without its own file it would parse /etc/ltrace.conf, which programs of every day need and these two do not.
        let (line, count) = self.as_ltrace(line, workload);
        let line = if workload.is_loop() {
            line.and(["-F"]).and([self.fixtures.path("work.conf")])
        } else {
            line
        };
        (line.and(["--"]), count)
    }

    /// The options that both have.
    fn as_ltrace(&self, line: Line, workload: Workload) -> (Line, Count) {
        let out = self.scratch.join("trace");
        let mut line = line.and(["-o"]).and([&out]);
        if workload == Workload::Threads {
            line = line.and(["-f"]);
        }
        let Some(function) = workload.function() else {
            return (line, Count::Nothing);
        };
        line = line.and(["-e", function]);
        if workload == Workload::Summary {
            return (line.and(["-c"]), Count::Row(out, function.to_owned()));
        }
        (line, Count::Lines(out, format!("{function}(")))
    }

    fn strace(&self, workload: Workload) -> (Line, Count) {
        let out = self.scratch.join("trace");
        let line = Line::new(["strace", "-o"]).and([&out]);
        if workload != Workload::Syscall {
            return (line, Count::Nothing);
        }
        (
            line.and(["-e", "trace=getppid"]),
            Count::Lines(out, "getppid(".to_owned()),
        )
    }

    fn uftrace(&self, workload: Workload) -> Option<(Line, Count)> {
        let data = self.scratch.join("uftrace.data");
        let line = Line::new(["uftrace", "record", "--force", "-d"]).and([&data]);
        let spec = match workload {
            Workload::Ints | Workload::Threads => ["-A", "work2@arg1,arg2", "-R", "work2@retval"],
            Workload::Text => ["-A", "work_text@arg1/s", "-R", "work_text@retval"],
            Workload::Syscall => ["-F", "getppid", "-R", "getppid@retval"],
            Workload::True | Workload::Ls => return Some((line.and(["-a"]), Count::Nothing)),
            Workload::Imports => ["-F", "f10000", "-R", "f10000@retval"],
            Workload::Summary => return None,
        };
        let function = workload.function()?.to_owned();
        Some((line.and(spec), Count::Uftrace(data, function)))
    }

    fn gdb(&self, workload: Workload) -> Option<(Line, Count)> {
        let function = workload.function()?;
        let print = gdb_print(workload)?;
        let line = Line::new(["gdb", "-q", "-nx", "-batch"])
            .and(["-ex", "set breakpoint pending on", "-ex"])
            .and([format!("dprintf {print}")])
            .and(["-ex", "run", "--args"]);
        // The line that announces the breakpoint has no parenthesis behind the name.
        Some((
            line,
            Count::Lines(self.scratch.join(crate::process::STDOUT), format!("{function}(")),
        ))
    }

    fn perf(&self, workload: Workload) -> Option<(Line, Count)> {
        let data = self.scratch.join("perf.data");
        let event = format!("{}:{}*", self.probes, workload.function()?);
        let line = Line::new(["perf", "record", "-e"])
            .and([event])
            .and(["-o"])
            .and([data])
            .and(["--"]);
        Some((line, Count::Perf(self.scratch.join(crate::process::STDERR))))
    }

    /// Plants the probes of [`Tool::Perf`]; dropped, they are taken away.
    ///
    /// # Errors
    ///
    /// What perf says, where they are not allowed.
    pub fn plant_probes(&self) -> Result<Probes, crate::Error> {
        let library = self.fixtures.path("libwork.so");
        let group = &self.probes;
        let line = Line::new(["perf", "probe", "-q", "-x"]).and([library]);
        let specs = [
            "work2=work2 a b",
            "work2_=work2%return $retval",
            "work_text=work_text text:string",
        ];
        let line = specs.iter().fold(line, |line, spec| {
            line.and(["--add".to_owned(), format!("{group}:{spec}")])
        });
        let line = line.and([
            "--add".to_owned(),
            format!("{group}:work_text_=work_text%return $retval"),
        ]);
        let probes = Probes {
            group: group.clone(),
            dir: self.scratch.clone(),
        };
        line.run(&self.scratch, std::time::Duration::from_secs(60))?;
        Ok(probes)
    }
}

/// Probes of perf that are planted while this lives.
#[derive(Debug)]
pub struct Probes {
    group: String,
    dir: PathBuf,
}

impl Drop for Probes {
    fn drop(&mut self) {
        let line = Line::new(["perf", "probe", "-q", "-d"]).and([format!("{}:*", self.group)]);
        let _ = line.run(&self.dir, std::time::Duration::from_secs(60));
    }
}

/// The arguments of gdb's `dprintf`.
fn gdb_print(workload: Workload) -> Option<&'static str> {
    Some(match workload {
        Workload::Ints | Workload::Threads => r#"work2,"work2(%d, %d)\n",a,b"#,
        Workload::Text => r#"work_text,"work_text(\"%s\")\n",text"#,
        Workload::Imports => r#"f10000,"f10000(%d)\n",a"#,
        _ => return None,
    })
}

/// Whether the program says that it has the option `--config`.
#[must_use]
pub fn has_config_option(rltrace: &Path, dir: &Path) -> bool {
    let line = Line::new([rltrace]).and(["--help"]);
    let ran = line.run(dir, std::time::Duration::from_secs(20)).is_ok();
    ran && std::fs::read_to_string(dir.join(crate::process::STDOUT))
        .is_ok_and(|help| help.contains("--config"))
}
