use super::*;

const AT: Moment = Moment {
    tid: 7,
    time: 1_000_000_206_000,
    address: Addr::new(0x401136),
};

fn f(function: &str) -> CallName<'_> {
    CallName {
        caller: None,
        function,
        library: None,
    }
}

fn shown(options: TextOptions, events: impl FnOnce(&mut TextSink, &mut Vec<u8>)) -> String {
    let (mut sink, mut out) = (TextSink::new(options), Vec::new());
    events(&mut sink, &mut out);
    String::from_utf8(out).expect("the sink writes UTF-8")
}

#[test]
fn the_result_stands_at_its_column() {
    let text = shown(TextOptions::default(), |sink, out| {
        sink.entry(out, AT, f("puts"), b"\"x 42  3.14\"");
        sink.exit(out, AT, f("puts"), b"", b"11", 0);
        sink.entry(
            out,
            AT,
            f("a_function_with_a_long_name"),
            b"\"and an argument that is long too\"",
        );
        sink.exit(out, AT, f("a_function_with_a_long_name"), b"", b"0", 0);
    });
    assert_eq!(
        text,
        "puts(\"x 42  3.14\")                               = 11\n\
         a_function_with_a_long_name(\"and an argument that is long too\") = 0\n"
    );
    assert_eq!(text.find('='), Some(49));
    assert_eq!(
        (align_for(Some(80)), align_for(Some(132)), align_for(None)),
        (50, 82, 50)
    );
}

#[test]
fn nested_calls_are_unfinished_and_resumed() {
    let options = TextOptions {
        indent: 2,
        align: 20,
        ..TextOptions::default()
    };
    let text = shown(options, |sink, out| {
        sink.entry(
            out,
            AT,
            CallName {
                caller: Some("b"),
                ..f("helper")
            },
            b"10",
        );
        sink.entry(
            out,
            AT,
            CallName {
                caller: Some("b"),
                ..f("malloc")
            },
            b"10",
        );
        sink.exit(out, AT, f("malloc"), b"", b"0x1000", 0);
        sink.exit(out, AT, f("helper"), b", 5", b"0", 0);
    });
    let lines = [
        "b->helper(10 <unfinished ...>",
        "  b->malloc(10)    = 0x1000",
        "<... helper resumed> , 5) = 0",
        "",
    ];
    assert_eq!(text, lines.join("\n"));
}

#[test]
fn threads_interrupt_each_other_and_signals_cut_calls() {
    let other = Moment { tid: 8, ..AT };
    let options = TextOptions {
        pid: PidPrefix::Bracketed,
        align: 0,
        ..TextOptions::default()
    };
    let text = shown(options, |sink, out| {
        sink.entry(out, AT, f("kill"), b"7, SIGUSR1");
        sink.signal(out, AT, 10);
        sink.exit(out, AT, f("kill"), b"", b"0", 0);
        sink.entry(out, AT, f("a"), b"");
        sink.signal(out, other, 34);
        sink.entry(out, other, f("b"), b"");
        sink.exit(out, AT, f("a"), b"", b"1", 0);
        sink.unwound(out, other, f("b"));
        sink.entry(out, AT, f("exit"), b"3");
        sink.no_return(out, AT, f("exit"));
        sink.exited(out, AT, 3);
        sink.entry(out, other, f("c"), b"");
        sink.killed(out, other, 11);
        sink.exec(out, other);
    });
    let lines = [
        "[pid 7] kill(7, SIGUSR1 <no return ...>",
        "[pid 7] --- SIGUSR1 (User defined signal 1) ---",
        "[pid 7] <... kill resumed> ) = 0",
        "[pid 7] a( <unfinished ...>",
        "[pid 8] --- SIGRT2 (Real-time signal 2) ---",
        "[pid 8] b( <unfinished ...>",
        "[pid 7] <... a resumed> ) = 1",
        "[pid 8] <... b resumed> ) = <unwound>",
        "[pid 7] exit(3 <no return ...>",
        "[pid 7] +++ exited (status 3) +++",
        "[pid 8] c( <no return ...>",
        "[pid 8] +++ killed by SIGSEGV +++",
        "[pid 8] --- Called exec() ---",
        "",
    ];
    assert_eq!(text, lines.join("\n"));
}

#[test]
fn prefixes_are_as_ltrace_has_them() {
    let line = |options: TextOptions| {
        shown(options, |sink, out| {
            sink.entry(
                out,
                AT,
                CallName {
                    library: Some("SYS"),
                    ..f("brk")
                },
                b"nil",
            );
            sink.exit(out, AT, f("brk"), b"", b"0", 1_166_999);
        })
    };
    let options = TextOptions {
        align: 0,
        ..TextOptions::default()
    };
    for (options, expected) in [
        (
            TextOptions {
                pid: PidPrefix::Bare,
                ..options
            },
            "7 brk@SYS(nil) = 0\n",
        ),
        (
            TextOptions {
                address: true,
                duration: true,
                ..options
            },
            "[0x401136] brk@SYS(nil) = 0 <0.001166>\n",
        ),
        (
            TextOptions {
                time: TimePrefix::Clock,
                utc_offset: |_| 3600,
                ..options
            },
            "01:16:40 brk@SYS(nil) = 0\n",
        ),
        (
            TextOptions {
                time: TimePrefix::ClockMicros,
                ..options
            },
            "00:16:40.000206 brk@SYS(nil) = 0\n",
        ),
        (
            TextOptions {
                time: TimePrefix::Epoch,
                ..options
            },
            "1000.000206 brk@SYS(nil) = 0\n",
        ),
        (
            TextOptions {
                time: TimePrefix::Relative,
                ..options
            },
            "  0.000000 brk@SYS(nil) = 0\n",
        ),
    ] {
        assert_eq!(line(options), expected);
    }
    let relative = TextOptions {
        time: TimePrefix::Relative,
        ..options
    };
    let text = shown(relative, |sink, out| {
        sink.signal(out, AT, 1);
        sink.signal(
            out,
            Moment {
                time: AT.time + 206_999,
                ..AT
            },
            1,
        );
    });
    assert!(text.ends_with("\n  0.000206 --- SIGHUP (Hangup) ---\n"), "{text}");
}

#[test]
fn a_hostile_name_does_no_harm() {
    let text = shown(TextOptions::default(), |sink, out| {
        sink.entry(out, AT, f("\x1b[2J\n"), b"");
    });
    assert_eq!(text, "\\033[2J\\n(");
}

#[test]
fn a_thread_that_ends_closes_its_calls() {
    let other = Moment { tid: 8, ..AT };
    let text = shown(TextOptions::default(), |sink, out| {
        sink.entry(out, AT, f("outer"), b"1");
        sink.entry(out, AT, f("inner"), b"2, ");
        sink.cut_off(out, AT, f("inner"));
        sink.entry(out, other, f("there"), b"");
        sink.cut_off(out, AT, f("outer"));
        sink.exit(out, other, f("there"), b"", b"0", 0);
    });
    let lines = [
        "outer(1 <unfinished ...>",
        "inner(2, <no return ...>",
        "there( <unfinished ...>",
        "<... outer resumed> <no return ...>",
        "<... there resumed> )                            = 0",
        "",
    ];
    assert_eq!(text, lines.join("\n"));
}

#[test]
fn colors_take_no_columns() {
    let events = |sink: &mut TextSink, out: &mut Vec<u8>| {
        sink.entry(out, AT, f("outer"), b"1");
        sink.entry(out, AT, f("inner"), b"2");
        sink.exit(out, AT, f("inner"), b"", b"0", 0);
        sink.exit(out, AT, f("outer"), b"", b"0", 0);
        sink.signal(out, AT, 10);
    };
    let plain = shown(TextOptions::default(), events);
    let color = TextOptions {
        color: true,
        ..TextOptions::default()
    };
    let mut colored = shown(color, events);
    assert!(colored.contains("\x1b[36minner\x1b[0m(2) "), "{colored:?}");
    for code in [NAME, RESULT, NOTICE, PLAIN] {
        colored = colored.replace(std::str::from_utf8(code).expect("ASCII"), "");
    }
    assert_eq!(colored, plain);
}
