//! Two processes that share a file: producers that are killed wherever they are.

use fast_ring::{Body, Captured, Consumer, End, Fields, Host, Layout, Outcome, Record, Region, Shape};
use memmap2::MmapRaw;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

const FILE: &str = "FAST_RING_TEST_FILE";
const TEXT: &[u8] = b"as long as it takes to be in the middle of it";

/// Waits end at once, as a futex's may: this is no busy machine's way, but needs no system call.
struct Polling;

impl Host<AtomicU64> for Polling {
    fn wait(&self, _word: &AtomicU64, _seen: u32, _at_most: Duration) {
        std::thread::yield_now();
    }
    fn wake(&self, _word: &AtomicU64) {}
    fn now(&self) -> u64 {
        0
    }
}

/// The words of a mapping that others write.
fn words(mapping: &MmapRaw) -> &[AtomicU64] {
    // SAFETY: the mapping is aligned to a page, has this length, and lives as long as `mapping`. Everyone, in all processes,
    // uses it by atomic accesses only.
    unsafe { std::slice::from_raw_parts(mapping.as_mut_ptr().cast(), mapping.len() / 8) }
}

fn shapes() -> [Shape; 1] {
    let call = Fields {
        words: 6,
        captures: 1,
        ..Fields::default()
    };
    [Shape::new(call, None)]
}

/// The other process of the test below: it records until it is killed.
#[test]
#[ignore = "a part of a_producer_that_is_killed_tears_no_record, which starts it"]
fn records_for_ever() {
    let file = std::env::var_os(FILE).expect("started by the test that it is a part of");
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(file)
        .unwrap();
    let mapping = MmapRaw::map_raw(&file).unwrap();
    let ring = Region::adopt(words(&mapping)).unwrap().ring(0).unwrap();
    let mut producer = ring.producer(&Polling);
    for number in 0_u64.. {
        let captures = [Captured {
            bytes: TEXT,
            end: End::Cut,
        }];
        let body = Body {
            words: &[number; 6],
            captures: &captures,
            ..Body::default()
        };
        assert_eq!(producer.call(0, &body), Ok(Outcome::Recorded));
    }
}

fn start(file: &std::path::Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "records_for_ever", "--ignored"])
        .env(FILE, file)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Reads what is there: whole records, with the numbers from `next` on.
fn read(consumer: &mut Consumer<'_>, next: &mut u64) {
    consumer.drain(&shapes()[..], &Polling, |record| {
        let Ok(Record::Call(call)) = record else {
            panic!("{record:?}")
        };
        assert!(
            call.words().iter().all(|word| word == *next),
            "{call:?} for {next}"
        );
        assert!(
            call.captures()
                .iter()
                .all(|capture| capture.bytes == TEXT && capture.end == End::Cut)
        );
        *next += 1;
    });
}

#[test]
fn a_producer_that_is_killed_tears_no_record() {
    let layout = Layout::new(1, 4096, 256).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(layout.bytes() as u64).unwrap();
    let mapping = MmapRaw::map_raw(file.as_file()).unwrap();
    let region = Region::create(words(&mapping), layout).unwrap();
    region.attend(std::process::id(), u64::MAX);
    let mut consumer = region.ring(0).unwrap().consumer();
    for round in 0..20 {
        let mut child = start(file.path());
        let mut next = 0;
        // Many times around the ring, each round to another place.
        while next < 1000 + 37 * round {
            read(&mut consumer, &mut next);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        read(&mut consumer, &mut next);
        consumer.hand_over(None);
    }
}
