//! Prototypes and values that were made to do harm.

use super::*;

/// xorshift64*: the same numbers on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % (end as u64)).expect("below a usize")
    }
}

#[test]
fn hostile_files_and_values_do_no_harm() {
    let mut random = Random(0x1234_5678_9abc_def1);
    let lines: Vec<_> = Prototypes::embedded().map(|(_, _, line)| line).collect();
    let extra = [
        "typedef a = struct;",
        "typedef a = struct(int n, array(a*, n)*, string[*n]);",
        "void f(a*, inout a*);",
    ];
    let pieces = [
        "(",
        ")",
        "struct(",
        "array(",
        "*",
        ",",
        "arg1",
        "\u{1b}",
        "zero",
        "-",
        "enum(",
        "99999999999",
        "…",
        "[",
    ];
    for _ in 0..4000 {
        let mut text: Vec<String> = extra.iter().map(ToString::to_string).collect();
        for _ in 0..3 {
            let mut line: Vec<char> = lines[random.below(lines.len())].chars().collect();
            for _ in 0..random.below(4) {
                let at = random.below(line.len() + 1);
                match random.below(3) {
                    0 => drop(line.splice(at..at, pieces[random.below(pieces.len())].chars())),
                    1 if at < line.len() => drop(line.remove(at)),
                    _ => line.truncate(at.max(1)),
                }
            }
            text.push(line.into_iter().collect());
        }
        harmless(&text.join("\n"), &mut random);
    }
}

/// Loads the text and shows a call of every function in it, with random words and random memory.
fn harmless(text: &str, random: &mut Random) {
    let mut prototypes = Prototypes::new();
    prototypes.load(Path::new("x.conf"), text, None, &mut Vec::new());
    let names: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once('(')?.0.split([' ', '*']).next_back())
        .collect();
    for name in names {
        let plan = prototypes.plan(Arch::X86_64, &["libmine.so"], name);
        let noise: Vec<u8> = (0..256)
            .map(|_| u8::try_from(random.next() & 0xff).expect("a byte"))
            .collect();
        let memory = Cells(vec![(0x1000, noise.clone())]);
        let mut call = RawCall {
            word_count: 6,
            ..RawCall::default()
        };
        call.words.fill_with(|| {
            if random.next().is_multiple_of(4) {
                random.next()
            } else {
                0x1000 + random.next() % 256
            }
        });
        let ret = RawReturn {
            words: [random.next() % 64, 0],
            ..RawReturn::default()
        };
        let types = prototypes.types();
        let decoder = Decoder {
            types,
            limits: Limits::default(),
            memory: &memory,
            describe: &Names,
        };
        let (mut shown, mut scratch, mut out, mut result) =
            (Shown::default(), Scratch::default(), Vec::new(), Vec::new());
        let mut snapshot = Snapshot::default();
        wants_at_entry(types, &plan, &call, Limits::default(), &mut snapshot);
        decoder.entry(&plan, &call, &mut shown, &mut scratch, &mut out);
        wants_at_return(types, &plan, &call, &ret, Limits::default(), &mut snapshot);
        decoder.exit(&plan, &call, &ret, &shown, &mut scratch, &mut out, &mut result);
        let text = String::from_utf8([out, result].concat()).expect("text is UTF-8");
        assert!(!text.chars().any(char::is_control), "{name}: {text:?}");
        assert!(text.len() < 1 << 20, "{name}: {} bytes", text.len());
    }
}
