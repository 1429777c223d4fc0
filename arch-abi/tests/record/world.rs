//! A process with recording code in it: this one. What a tracer does from outside is done here from inside.

use arch_abi::record::{
    Areas, CallFields, Common, Interruption, Places, REMEMBERED, RETURN_ADDRESS, Recording, Resume,
    ReturnFields, RingLayout, Template,
};
use arch_abi::{Addr, Arch};
use fast_ring::format::{self, block};
use fast_ring::{Consumer, End, Fields, Host, Layout, Note, Record, Region, Shape};
use std::cell::Cell;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::time::Duration;

/// The first argument and the result.
pub(crate) fn one_word() -> Recording {
    Recording {
        call: CallFields {
            ints: 1,
            ..CallFields::default()
        },
        ret: Some(ReturnFields {
            ints: 1,
            ..ReturnFields::default()
        }),
    }
}

/// What the reader knows of a recording's records.
pub(crate) fn shape(recording: &Recording) -> Shape {
    let call = &recording.call;
    let count = |captures: usize| u8::try_from(captures).unwrap();
    Shape::new(
        Fields {
            stamp: call.stamp,
            caller: call.caller,
            words: call.ints + call.stack,
            floats: call.floats,
            captures: count(call.captures.len()),
        },
        recording.ret.as_ref().map(|ret| Fields {
            stamp: ret.stamp,
            caller: false,
            words: ret.ints + u8::from(ret.errno.is_some()),
            floats: ret.floats,
            captures: count(ret.captures.len()),
        }),
    )
}

/// futex(2), as a tracer's.
pub(crate) struct Futex;

impl Host<AtomicU64> for Futex {
    fn wait(&self, word: &AtomicU64, seen: u32, at_most: Duration) {
        let timeout = libc::timespec {
            tv_sec: i64::try_from(at_most.as_secs()).unwrap(),
            tv_nsec: i64::from(at_most.subsec_nanos()),
        };
        // SAFETY: the word and the time outlive the call, which writes neither.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                word.as_ptr(),
                libc::FUTEX_WAIT,
                seen,
                &raw const timeout,
            )
        };
    }

    fn wake(&self, word: &AtomicU64) {
        // SAFETY: the word outlives the call, which does not write it.
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
    }

    fn now(&self) -> u64 {
        now()
    }
}

/// The time stamp counter.
pub(crate) fn now() -> u64 {
    // SAFETY: every x86-64 has it.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// A record that can be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) kind: u32,
    pub(crate) id: u32,
    pub(crate) stack_pointer: u32,
    pub(crate) stamp: Option<u64>,
    pub(crate) caller: Option<u64>,
    pub(crate) words: Vec<u64>,
    pub(crate) floats: Vec<u64>,
    pub(crate) captures: Vec<(Vec<u8>, End)>,
}

impl Seen {
    /// `None`: a note that records were lost.
    pub(crate) fn of(record: &Record<'_>) -> Option<Seen> {
        let (kind, call) = match record {
            Record::Call(call) => (format::CALL, call),
            Record::TailCall(call) => (format::TAIL_CALL, call),
            Record::Return(call) => (format::RETURN, call),
            Record::Note(Note::Lost { .. }) => return None,
            other => panic!("{other:?}"),
        };
        Some(Seen {
            kind,
            id: call.id(),
            stack_pointer: call.stack_pointer(),
            stamp: call.stamp(),
            caller: call.caller(),
            words: call.words().iter().collect(),
            floats: call.floats().iter().collect(),
            captures: call
                .captures()
                .iter()
                .map(|capture| (capture.bytes.to_vec(), capture.end))
                .collect(),
        })
    }
}

/// Memory of this process.
pub(crate) fn map(at: u64, bytes: u64, protection: i32, flags: i32) -> u64 {
    let flags = flags | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let bytes = usize::try_from(bytes).unwrap();
    // SAFETY: new memory, or none; with `MAP_FIXED_NOREPLACE` nothing that is there is replaced.
    let got = unsafe { libc::mmap(at as *mut _, bytes, protection, flags, -1, 0) };
    assert_ne!(
        got,
        libc::MAP_FAILED,
        "{at:#x}: {}",
        std::io::Error::last_os_error()
    );
    got as u64
}

const RW: i32 = libc::PROT_READ | libc::PROT_WRITE;

/// Where stacks lie: the main thread's, and those of threads. All of it has shadows.
const STACKS: (u64, u64) = (0x7c00_0000_0000, 0x7fff_ffff_f000);

fn map_shadows() {
    let (start, end) = STACKS;
    for shadow in [RETURN_ADDRESS, REMEMBERED[0], REMEMBERED[1]] {
        let at = start ^ shadow.turned;
        assert_eq!(map(at, end - start + 4096, RW, libc::MAP_FIXED_NOREPLACE), at);
    }
}

/// A piece of recording code, for the signal handler.
struct Known {
    find: Box<dyn Fn(Addr, Interruption) -> Option<Resume>>,
    next: *const Known,
}

static KNOWN: AtomicPtr<Known> = AtomicPtr::new(std::ptr::null_mut());

fn make_known(find: Box<dyn Fn(Addr, Interruption) -> Option<Resume>>) {
    let known = Box::leak(Box::new(Known {
        find,
        next: std::ptr::null(),
    }));
    known.next = KNOWN.load(Ordering::Acquire);
    while let Err(now) =
        KNOWN.compare_exchange(known.next.cast_mut(), known, Ordering::AcqRel, Ordering::Acquire)
    {
        known.next = now;
    }
}

/// What a tracer would do for a thread that has stopped there.
pub(crate) fn resume(pc: u64, why: Interruption) -> Option<Resume> {
    let mut next = KNOWN.load(Ordering::Acquire).cast_const();
    // SAFETY: what is in the list is never freed.
    while let Some(known) = unsafe { next.as_ref() } {
        if let Some(found) = (known.find)(Addr::new(pc), why) {
            return Some(found);
        }
        next = known.next;
    }
    None
}

thread_local! {
    /// How often a fault of this thread was dealt with.
    static FAULTS: Cell<u64> = const { Cell::new(0) };
}

/// How often a fault of this thread was dealt with.
pub(crate) fn faults() -> u64 {
    FAULTS.get()
}

/// Sets the interrupted program counter as the code says. Whether that was done.
///
/// # Safety
/// `context` is what the kernel has handed to a signal handler.
pub(crate) unsafe fn resume_context(context: *mut libc::c_void, why: Interruption) -> bool {
    // SAFETY: as the caller says.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    let pc = &mut context.uc_mcontext.gregs[usize::try_from(libc::REG_RIP).unwrap()];
    match resume(pc.cast_unsigned(), why) {
        Some(Resume::At(at)) => {
            *pc = at.get().cast_signed();
            true
        }
        _ => false,
    }
}

extern "C" fn on_fault(signal: i32, _info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: this is a signal handler.
    if unsafe { resume_context(context, Interruption::Fault) } {
        FAULTS.set(FAULTS.get() + 1);
    } else {
        // SAFETY: the fault comes again, and ends the process.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Installs a handler that gets all there is to know.
pub(crate) fn handle(signal: i32, handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void)) {
    // SAFETY: all zeros is a valid value; the handler is one for `SA_SIGINFO`.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        if matches!(signal, libc::SIGSEGV | libc::SIGBUS | libc::SIGTRAP) {
            action.sa_flags |= libc::SA_NODEFER; // recording code that a handler calls may need it
        }
        assert_eq!(
            libc::sigaction(signal, &raw const action, std::ptr::null_mut()),
            0
        );
    }
}

fn prepare_process() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        map_shadows();
        for signal in [libc::SIGSEGV, libc::SIGBUS] {
            handle(signal, on_fault);
        }
    });
}

const ARCH_SET_GS: i32 = 0x1001; // asm/prctl.h
const ARCH_GET_FS: i32 = 0x1003;

/// The thread pointer.
pub(crate) fn thread_pointer() -> u64 {
    let mut base = 0_u64;
    // SAFETY: it writes `base` (arch_prctl(2)).
    let done = unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_GET_FS, &raw mut base) };
    assert_eq!(done, 0);
    base
}

/// Sets the base of `gs`, which nothing else uses here.
pub(crate) fn set_gs(base: u64) {
    // SAFETY: Rust and the C library do not use `gs` on x86-64.
    let done = unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_SET_GS, base) };
    assert_eq!(done, 0);
}

/// A stub in its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stub {
    pub(crate) id: u32,
    pub(crate) template: &'static Template,
    pub(crate) places: Places,
    slot: &'static AtomicU64,
}

impl Stub {
    /// What callers jump to.
    pub(crate) fn entry(&self) -> u64 {
        self.places.entry.get()
    }

    /// Writes its code, over that which may be retired.
    pub(crate) fn write(&self) {
        let slot = Addr::new(self.slot.as_ptr() as u64);
        let (entry, ret) = self.template.place(&self.places, self.id, slot);
        write(self.places.entry, &entry);
        write(self.places.ret, &ret);
    }

    /// The stub, as a function of type `F`.
    ///
    /// # Safety
    /// `F` must be the type of the function behind it.
    pub(crate) unsafe fn function<F: Copy>(&self) -> F {
        assert_eq!(size_of::<F>(), 8);
        let entry = self.entry();
        // SAFETY: as the caller says; a function pointer has the size of a word.
        unsafe { std::mem::transmute_copy(&entry) }
    }
}

/// Areas with their code, and a region of rings.
pub(crate) struct World {
    pub(crate) areas: Areas,
    pub(crate) common: &'static Common,
    pub(crate) region: Region<'static>,
    words: &'static [AtomicU64],
    pub(crate) shapes: Vec<Shape>,
    next: Places,
}

/// The next place of a stub.
fn behind(at: Addr, bytes: usize) -> Addr {
    Addr::new((at.get() + bytes as u64).next_multiple_of(64))
}

/// How many worlds there have been, and one.
static WORLDS: AtomicU64 = AtomicU64::new(1);

/// Bytes of the area of entries.
const ENTRIES: u64 = 1 << 20;

impl World {
    pub(crate) fn new(layout: Layout) -> World {
        prepare_process();
        // Near the code that calls, each at a place of its own: jumps further than some 64 GiB take a few cycles more.
        let near = World::new as *const () as u64 + (WORLDS.fetch_add(1, Ordering::Relaxed) << 28);
        let room = map(
            near & !0xfff,
            2 * Areas::RETURNS + ENTRIES,
            RW | libc::PROT_EXEC,
            0,
        );
        let returns = room.next_multiple_of(Areas::RETURNS);
        let entries = returns + Areas::RETURNS;
        let area = |start: u64, bytes: u64| Addr::new(start)..Addr::new(start + bytes);
        let areas = Areas {
            entries: area(entries, ENTRIES),
            returns: area(returns, Areas::RETURNS),
        };
        let recorder = Arch::X86_64.abi().recorder().expect("x86-64 has one");
        let common = recorder
            .common(&areas, &RingLayout::from(&layout))
            .expect("common code");
        let common: &'static Common = Box::leak(Box::new(common));
        write(areas.entries.start, common.entries());
        write(areas.returns.start, common.returns());
        make_known(Box::new(|pc, why| common.resume(pc, why)));

        // Mapped, so that the words are aligned to more than a cache line.
        let memory = map(0, layout.bytes() as u64, RW, 0);
        // SAFETY: the mapping is as large, and stays for ever.
        let words: &'static [AtomicU64] =
            unsafe { std::slice::from_raw_parts(memory as *const AtomicU64, layout.words()) };
        let region = Region::create(words, layout).unwrap();
        let mut world = World {
            next: Places {
                entry: behind(areas.entries.start, common.entries().len()),
                ret: behind(areas.returns.start, common.returns().len()),
            },
            areas,
            common,
            region,
            words,
            shapes: Vec::new(),
        };
        world.attend(u64::MAX);
        world
    }

    /// There is somebody who drains: this process.
    pub(crate) fn attend(&mut self, patience: u64) {
        self.region.attend(std::process::id(), patience);
    }

    /// A stub before `function`.
    pub(crate) fn stub(&mut self, recording: &Recording, function: u64) -> Stub {
        let recorder = Arch::X86_64.abi().recorder().expect("x86-64 has one");
        let template = recorder.template(recording, self.common).expect("a template");
        self.place(Box::leak(Box::new(template)), Some(recording), function)
    }

    /// Puts a template in place.
    pub(crate) fn place(
        &mut self,
        template: &'static Template,
        recording: Option<&Recording>,
        function: u64,
    ) -> Stub {
        let slot: &'static AtomicU64 = Box::leak(Box::new(AtomicU64::new(function)));
        let places = self.next;
        self.next = Places {
            entry: behind(places.entry, template.entry_len()),
            ret: behind(places.ret, template.return_len()),
        };
        let id = u32::try_from(self.shapes.len()).unwrap();
        self.shapes.push(recording.map(shape).unwrap_or_default());
        make_known(Box::new(move |pc, why| template.resume(&places, pc, why)));
        let stub = Stub {
            id,
            template,
            places,
            slot,
        };
        stub.write();
        stub
    }

    /// The words of a ring's control block.
    pub(crate) fn block(&self, ring: usize) -> &'static [AtomicU64] {
        let at = self.region.layout().block_at(ring).unwrap() / 8;
        &self.words[at..at + format::BLOCK_WORDS]
    }

    /// The addresses of the region.
    pub(crate) fn memory(&self) -> std::ops::Range<u64> {
        let range = self.words.as_ptr_range();
        range.start as u64..range.end as u64
    }

    /// A word of the header.
    pub(crate) fn header(&self, offset: usize) -> &'static AtomicU64 {
        &self.words[offset / 8]
    }

    /// Gives a ring to the calling thread.
    pub(crate) fn enter(&self, ring: usize) -> Inside {
        let layout = self.region.layout();
        let start = self.words.as_ptr() as u64;
        let data = start + layout.data_at(ring).unwrap() as u64;
        self.region
            .ring(ring)
            .unwrap()
            .bind(data, start, self.areas.owner(thread_pointer()));
        let block = self.block(ring);
        let own = block.as_ptr() as u64;
        block[block::FREE / 8].store(own, Ordering::Release);
        set_gs(own);
        Inside
    }

    pub(crate) fn consumer(&self, ring: usize) -> Consumer<'static> {
        self.region.ring(ring).unwrap().consumer()
    }

    /// All that was published, which must be well formed.
    pub(crate) fn drain(&self, consumer: &mut Consumer<'_>) -> Vec<Seen> {
        let mut seen = Vec::new();
        consumer.drain(&self.shapes, &Futex, |record| {
            seen.extend(Seen::of(&record.unwrap()));
        });
        seen
    }
}

/// While this is there, the thread records.
pub(crate) struct Inside;

impl Drop for Inside {
    fn drop(&mut self) {
        set_gs(0);
    }
}

/// Writes code.
pub(crate) fn write(at: Addr, bytes: &[u8]) {
    // SAFETY: the areas are writable, and large enough for the few stubs of a test; nothing runs there yet, or
    // the caller has seen to it.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), at.get() as *mut u8, bytes.len()) };
}

/// A layout with one ring of 64 KiB.
pub(crate) fn one_ring() -> Layout {
    Layout::new(1, 1 << 16, 1024).unwrap()
}
