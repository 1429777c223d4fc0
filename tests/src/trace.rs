//! A trace in ltrace's text form, read back into calls and other events.
//!
//! `f(args) = result` is one call; `f(args <unfinished ...>` and the later `<... f resumed> rest) = result` of the
//! same process are joined into one. Lines that fit nothing are kept as [`Event::Other`]: a test can ask for
//! none of them.

use std::collections::HashMap;

/// How a call ended, as the trace says it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum End {
    /// `= RESULT`
    Returned(String),
    /// `<unwound>`: its frame was left by other means than a return.
    Unwound,
    /// `<no return ...>`: the process was over first, or a signal came and nothing resumed the call.
    NoReturn,
    /// `<unfinished ...>` that nothing resumed.
    Unfinished,
}

/// One call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Call {
    /// The process or thread, where the line names one.
    pub pid: Option<i32>,
    /// `exe` of `exe->f(…)`.
    pub caller: Option<String>,
    /// The function.
    pub name: String,
    /// All between the parentheses, unchanged.
    pub args: String,
    /// How it ended.
    pub end: End,
}

impl Call {
    /// The result, when the call returned.
    pub fn result(&self) -> Option<&str> {
        match &self.end {
            End::Returned(text) => Some(text),
            _ => None,
        }
    }

    /// `name(args) = result`, whatever the padding was.
    pub fn spelled(&self) -> String {
        let end = match &self.end {
            End::Returned(text) => format!(" = {text}"),
            End::Unwound => " <unwound>".to_owned(),
            End::NoReturn => " <no return ...>".to_owned(),
            End::Unfinished => " <unfinished ...>".to_owned(),
        };
        format!("{}({}){end}", self.name, self.args)
    }
}

/// One event; a call stands where it began.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// A call.
    Call(Call),
    /// `--- SIGUSR1 (…) ---`, by its name.
    Signal(Option<i32>, String),
    /// `+++ exited (status 7) +++`
    Exited(Option<i32>, i32),
    /// `+++ killed by SIGSEGV +++`
    Killed(Option<i32>, String),
    /// `--- Called exec() ---`
    Exec(Option<i32>),
    /// A line of another form.
    Other(String),
}

/// A whole trace.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// As it was written.
    pub text: String,
    /// In the order of the first line of each.
    pub events: Vec<Event>,
}

impl Trace {
    /// Reads a trace. Nothing is an error: what is not understood becomes [`Event::Other`].
    pub fn parse(text: &str) -> Self {
        let mut reader = Reader::default();
        for line in text.lines() {
            reader.line(line);
        }
        Self {
            text: text.to_owned(),
            events: reader.events,
        }
    }

    /// All calls.
    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        self.events.iter().filter_map(|event| match event {
            Event::Call(call) => Some(call),
            _ => None,
        })
    }

    /// The calls of one function.
    pub fn calls_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Call> {
        self.calls().filter(move |call| call.name == name)
    }

    /// The calls of one function as `name(args) = result`, sorted or in order as they stand.
    pub fn spelled(&self, name: &str) -> Vec<String> {
        self.calls_of(name).map(Call::spelled).collect()
    }

    /// The lines as they stand, but with `0x…` for each address (a number of more than ten digits): what two runs of one program
    /// have in common.
    pub fn without_addresses(&self) -> Vec<String> {
        self.text.lines().map(without_addresses).collect()
    }

    /// The lines that fit no form of a trace.
    pub fn others(&self) -> Vec<&str> {
        self.events
            .iter()
            .filter_map(|event| match event {
                Event::Other(line) => Some(line.as_str()),
                _ => None,
            })
            .collect()
    }

    /// The signals delivered, by name, in order.
    pub fn signals(&self) -> Vec<&str> {
        self.events
            .iter()
            .filter_map(|event| match event {
                Event::Signal(_, name) => Some(name.as_str()),
                _ => None,
            })
            .collect()
    }

    /// The exit statuses, in order.
    pub fn exits(&self) -> Vec<i32> {
        self.events
            .iter()
            .filter_map(|event| match event {
                Event::Exited(_, status) => Some(*status),
                _ => None,
            })
            .collect()
    }
}

fn without_addresses(line: &str) -> String {
    let mut parts = line.split("0x");
    let mut made = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_hexdigit).count();
        made.push_str("0x");
        made.push_str(if digits > 10 { "…" } else { &part[..digits] });
        // The padding before a result depends on what stands before it.
        made.push_str(&part[digits..]);
    }
    made.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[derive(Default)]
struct Reader {
    events: Vec<Event>,
    /// Per process, the calls (by their place in `events`) that wait for their `resumed`.
    open: HashMap<Option<i32>, Vec<usize>>,
}

impl Reader {
    fn line(&mut self, line: &str) {
        let (pid, rest) = split_pid(line);
        let event = self
            .resumed(pid, rest)
            .map(|()| None)
            .or_else(|| started(pid, rest).map(|call| Some(Event::Call(call))))
            .or_else(|| notice(pid, rest).map(Some))
            .unwrap_or_else(|| Some(Event::Other(line.to_owned())));
        let Some(event) = event else { return };
        // ltrace says `<no return ...>` of a call that a signal interrupts, and may resume it all the same.
        if matches!(&event, Event::Call(call) if matches!(call.end, End::Unfinished | End::NoReturn)) {
            self.open.entry(pid).or_default().push(self.events.len());
        }
        self.events.push(event);
    }

    /// `<... f resumed> rest) = result`: completes the last open call of that name and process.
    fn resumed(&mut self, pid: Option<i32>, line: &str) -> Option<()> {
        let (name, rest) = line.strip_prefix("<... ")?.split_once(" resumed>")?;
        let name = name.rsplit_once("->").map_or(name, |(_, name)| name);
        // Lines name their thread only once there are several: a call may have begun before.
        let waits = |open: &Vec<usize>| {
            open.iter()
                .any(|&at| matches!(&self.events[at], Event::Call(call) if call.name == name))
        };
        let key = if self.open.get(&pid).is_some_and(waits) {
            pid
        } else {
            None
        };
        let open = self.open.get_mut(&key)?;
        let at = open
            .iter()
            .rposition(|&at| matches!(&self.events[at], Event::Call(call) if call.name == name))?;
        let event = open.remove(at);
        let Event::Call(call) = &mut self.events[event] else {
            return None;
        };
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        let (more, end) = finish(rest)?;
        call.args.push_str(&more);
        call.end = end;
        Some(())
    }
}

/// `[pid 7] rest`, `7 rest` or the line as it is.
fn split_pid(line: &str) -> (Option<i32>, &str) {
    let bracketed = line.strip_prefix("[pid ").and_then(|rest| rest.split_once("] "));
    let split = bracketed.or_else(|| line.split_once(' '));
    match split.and_then(|(pid, rest)| Some((pid.trim().parse().ok()?, rest))) {
        Some((pid, rest)) => (Some(pid), rest.trim_start()),
        None => (None, line),
    }
}

/// `exe->f(args) = result` and its unfinished forms.
fn started(pid: Option<i32>, line: &str) -> Option<Call> {
    let (head, rest) = line.split_once('(')?;
    let (caller, name) = match head.rsplit_once("->") {
        Some((caller, name)) => (Some(caller.to_owned()), name),
        None => (None, head),
    };
    if name.is_empty() || name.contains(char::is_whitespace) || name.starts_with(['-', '+', '<']) {
        return None;
    }
    let (args, end) = match rest.strip_suffix("<unfinished ...>") {
        Some(args) => (args.trim_end().to_owned(), End::Unfinished),
        None => finish(rest)?,
    };
    Some(Call {
        pid,
        caller,
        name: name.to_owned(),
        args,
        end,
    })
}

/// `args) = result`, `args) <unwound>`, `args <no return ...>`: the arguments and the end.
fn finish(rest: &str) -> Option<(String, End)> {
    for (mark, end) in [("<no return ...>", End::NoReturn), ("<unwound>", End::Unwound)] {
        if let Some(args) = rest.strip_suffix(mark) {
            let args = args.trim_end().trim_end_matches('=').trim_end();
            return Some((args.strip_suffix(')').unwrap_or(args).to_owned(), end));
        }
    }
    let close = closing_parenthesis(rest)?;
    let result = rest[close + 1..].trim_start().strip_prefix('=')?;
    Some((rest[..close].to_owned(), End::Returned(result.trim().to_owned())))
}

/// Where the parenthesis closes that was opened before `text`, past strings and character constants.
fn closing_parenthesis(text: &str) -> Option<usize> {
    let mut depth = 0;
    let mut quote = None;
    let mut skip = 0;
    for (at, byte) in text.bytes().enumerate() {
        if skip > 0 {
            skip -= 1;
            continue;
        }
        match (quote, byte) {
            (Some(_), b'\\') => skip = 1,
            (None, b'\'') if text[at..].starts_with("'''") => skip = 2, // the quote itself, as ltrace prints it
            (Some(open), _) if byte == open => quote = None,
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'(') => depth += 1,
            (None, b')') if depth == 0 => return Some(at),
            (None, b')') => depth -= 1,
            (Some(_) | None, _) => {}
        }
    }
    None
}

/// `--- … ---` and `+++ … +++`.
fn notice(pid: Option<i32>, line: &str) -> Option<Event> {
    if let Some(body) = line
        .strip_prefix("--- ")
        .and_then(|rest| rest.strip_suffix(" ---"))
    {
        if body.starts_with("Called exec") {
            return Some(Event::Exec(pid));
        }
        let name = body.split_once(' ').map_or(body, |(name, _)| name);
        return name
            .starts_with("SIG")
            .then(|| Event::Signal(pid, name.to_owned()));
    }
    let body = line.strip_prefix("+++ ")?.strip_suffix(" +++")?;
    if let Some(name) = body.strip_prefix("killed by ") {
        return Some(Event::Killed(pid, name.to_owned()));
    }
    let status = body.strip_prefix("exited (status ")?.strip_suffix(')')?;
    Some(Event::Exited(pid, status.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of ltrace 0.7.91, padding and all.
    const SAMPLE: &str = "\
puts(\"x 42  3.14\")                               = 11
a.out->strcpy(0x7ffd, \"f(\\\") = 1\")    = 0x7ffd
qsort(0x55d0, 3, 4, 0x4011 <unfinished ...>
strcmp(\"a\", \")\")                               = -1
<... qsort resumed> )                            = <void>
putchar(')', '(')                                = 41
kill(15975, SIGUSR1 <no return ...>
--- SIGUSR1 (User defined signal 1) ---
<... kill resumed> )                             = 0
strchr(\"c\", ''')                                 = nil
read(0, <unfinished ...>
<... read resumed> \"hi\\n\", 10)                = 3
longjmp(0x7ffd, 1) <unwound>
--- Called exec() ---
what is this
+++ exited (status 3) +++
";

    #[test]
    fn ltraces_lines_are_understood() {
        let trace = Trace::parse(SAMPLE);
        let calls: Vec<String> = trace.calls().map(Call::spelled).collect();
        assert_eq!(
            calls,
            [
                "puts(\"x 42  3.14\") = 11",
                "strcpy(0x7ffd, \"f(\\\") = 1\") = 0x7ffd",
                "qsort(0x55d0, 3, 4, 0x4011) = <void>",
                "strcmp(\"a\", \")\") = -1",
                "putchar(')', '(') = 41",
                "kill(15975, SIGUSR1) = 0",
                "strchr(\"c\", ''') = nil",
                "read(0,\"hi\\n\", 10) = 3",
                "longjmp(0x7ffd, 1) <unwound>",
            ]
        );
        assert_eq!(trace.signals(), ["SIGUSR1"]);
        assert_eq!(trace.exits(), [3]);
        assert_eq!(trace.others(), ["what is this"]);
    }

    #[test]
    fn threads_do_not_take_each_others_returns() {
        let text = "\
[pid 7] f(1 <unfinished ...>
[pid 8] f(2 <unfinished ...>
[pid 7] <... f resumed> ) = 10
[pid 8] <... f resumed> ) = 20
[pid 7] +++ killed by SIGKILL +++
";
        let trace = Trace::parse(text);
        assert_eq!(trace.spelled("f"), ["f(1) = 10", "f(2) = 20"]);
        assert_eq!(
            trace.calls().map(|call| call.pid).collect::<Vec<_>>(),
            [Some(7), Some(8)]
        );
        assert_eq!(
            trace.events.last(),
            Some(&Event::Killed(Some(7), "SIGKILL".to_owned()))
        );
        let in_a_file = Trace::parse("7 f(1, '\\'') = 10\n7 +++ exited (status 0) +++\n");
        assert_eq!(in_a_file.spelled("f"), ["f(1, '\\'') = 10"]);
        assert_eq!(in_a_file.exits(), [0]);
    }

    #[test]
    fn addresses_differ_from_run_to_run() {
        let trace = Trace::parse("f(0x7ffd00112233, 0x12, 0x5500aabbccdd)      = 0x55aabbccddee\ng(1) = 2\n");
        assert_eq!(trace.without_addresses(), ["f(0x…, 0x12, 0x…) = 0x…", "g(1) = 2"]);
    }

    #[test]
    fn a_recursive_call_resumes_from_the_inside() {
        let trace = Trace::parse(
            "f(1 <unfinished ...>\nf(2 <unfinished ...>\n<... f resumed> ) = 20\n<... f resumed> ) = 10\n",
        );
        assert_eq!(trace.spelled("f"), ["f(1) = 10", "f(2) = 20"]);
    }

    #[test]
    fn a_call_that_nothing_resumed_stays_open() {
        let trace = Trace::parse("f(1 <unfinished ...>\ng(");
        assert_eq!(trace.spelled("f"), ["f(1) <unfinished ...>"]);
        assert_eq!(trace.others(), ["g("]);
    }
}
