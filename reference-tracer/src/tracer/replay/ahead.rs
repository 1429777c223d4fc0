//! What is read of a file ahead of what is shown: the records of other threads that are older than an event may stand behind it.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::raw::{Event, Limits};

/// So many events are read ahead, or events of so many bytes.
const EVENTS: usize = 1024;
const BYTES: usize = 1 << 20;

/// An event that is still to be shown.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) kind: u8,
    pub(super) payload: Vec<u8>,
    /// Where it stands in the file.
    pub(super) at: u64,
    /// Before what it is not to be shown.
    pub(super) after: After,
}

/// What comes before an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// All records that stand before it.
    All,
    /// Those of this thread, and what is older of others: than those, or than the time in nanoseconds, if it has one.
    Thread(i32, Option<u64>),
    /// The event before it.
    Event,
}

impl After {
    fn of(event: &Event<'_>) -> Self {
        match (event.thread(), event) {
            (Some(tid), _) => Self::Thread(tid, event.time()),
            (None, Event::Lines { .. }) => Self::Event,
            (None, _) => Self::All,
        }
    }
}

/// The events that were read and not shown.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    events: VecDeque<Queued>,
    bytes: usize,
    /// How many were read from the start of the file on.
    read: u64,
    /// The numbers of those that a thread's records do not pass.
    by_thread: FxHashMap<i32, VecDeque<u64>>,
    /// The numbers of those that no records pass.
    of_all: VecDeque<u64>,
}

impl Ahead {
    /// Whether there are so many that no more need to be read.
    pub(super) fn is_full(&self) -> bool {
        self.events.len() >= EVENTS || self.bytes >= BYTES
    }

    /// How many events were read so far.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    /// An event more, which stands at `at`. `None`: it is none.
    pub(super) fn push(&mut self, kind: u8, payload: &[u8], at: u64) -> Option<()> {
        let after = After::of(&Event::take(kind, payload)?);
        match after {
            After::All => self.of_all.push_back(self.read),
            After::Thread(tid, _) => self.by_thread.entry(tid).or_default().push_back(self.read),
            After::Event => {}
        }
        self.read += 1;
        self.bytes += payload.len();
        self.events.push_back(Queued {
            kind,
            payload: payload.to_vec(),
            at,
            after,
        });
        Some(())
    }

    /// The next one.
    pub(super) fn first(&self) -> Option<&Queued> {
        self.events.front()
    }

    /// The next one, which is shown now.
    pub(super) fn pop(&mut self) -> Option<Queued> {
        let event = self.events.pop_front()?;
        self.bytes -= event.payload.len();
        match event.after {
            After::All => {
                self.of_all.pop_front();
            }
            After::Thread(tid, _) => {
                if let Some(numbers) = self.by_thread.get_mut(&tid) {
                    numbers.pop_front();
                    if numbers.is_empty() {
                        self.by_thread.remove(&tid);
                    }
                }
            }
            After::Event => {}
        }
        Some(event)
    }
}

impl Limits for Ahead {
    fn of(&self, tid: i32) -> u64 {
        let own = self.by_thread.get(&tid).and_then(VecDeque::front);
        let all = self.of_all.front();
        own.into_iter().chain(all).copied().min().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(ahead: &mut Ahead, event: Event<'_>) {
        let mut entry = Vec::new();
        event.put(&mut entry);
        let payload = &entry[crate::raw::HEAD..];
        assert_eq!(ahead.push(entry[0], payload, ahead.read()), Some(()));
    }

    #[test]
    fn records_do_not_pass_their_own_threads_next_event() {
        let mut ahead = Ahead::default();
        assert_eq!(ahead.of(7), u64::MAX);
        push(&mut ahead, Event::ThreadEnd { tid: 7, time: 5 });
        push(&mut ahead, Event::Thread { tid: 8, tgid: 8 });
        push(&mut ahead, Event::ThreadEnd { tid: 7, time: 6 });
        push(&mut ahead, Event::NameThreads);
        push(&mut ahead, Event::Lines { tgid: 7, text: b"x" });
        let limits = |ahead: &Ahead| [ahead.of(7), ahead.of(8), ahead.of(9)];
        let mut shown = Vec::new();
        let mut seen = vec![limits(&ahead)];
        while let Some(event) = ahead.pop() {
            shown.push(event.after);
            seen.push(limits(&ahead));
        }
        let max = u64::MAX;
        assert_eq!(
            seen,
            [[0, 1, 3], [2, 1, 3], [2, 3, 3], [3, 3, 3], [max; 3], [max; 3]]
        );
        let (first, last) = (After::Thread(7, Some(5)), After::Thread(7, Some(6)));
        let expected = [first, After::Thread(8, None), last, After::All, After::Event];
        assert_eq!(shown, expected);
        assert!(ahead.by_thread.is_empty() && ahead.of_all.is_empty() && ahead.bytes == 0);
    }

    #[test]
    fn so_much_is_read_ahead_and_no_more() {
        let mut ahead = Ahead::default();
        for _ in 0..EVENTS {
            assert!(!ahead.is_full());
            push(&mut ahead, Event::NameThreads);
        }
        assert!(ahead.is_full());
        let text = vec![b'x'; BYTES];
        let mut ahead = Ahead::default();
        push(&mut ahead, Event::Lines { tgid: 1, text: &text });
        assert!(ahead.is_full());
        assert_eq!(ahead.push(255, b"", 0), None, "it is no event");
    }
}
