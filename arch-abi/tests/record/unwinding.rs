//! Exceptions, stack traces and debuggers go through recording code.

use crate::world::{World, one_ring, one_word};
use arch_abi::Addr;
use arch_abi::record::{Hook, RETURN_ADDRESS};
use fast_ring::format::{CALL, RETURN};
use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameHdr, EndianSlice, LittleEndian, Register, RegisterRule,
    UnwindContext, UnwindSection,
};
use std::cell::Cell;
use std::ffi::{CStr, c_int, c_void};

/// Asks a hook as an unwinder does. The answer, if it is about recording code.
#[repr(C)]
#[derive(Default)]
struct FoundObject {
    flags: u64,
    start: u64,
    end: u64,
    link_map: u64,
    header: u64,
    reserved: [u64; 7],
}

type FindObject = extern "C" fn(u64, *mut FoundObject) -> c_int;

extern "C" fn find_nothing(_pc: u64, _found: *mut FoundObject) -> c_int {
    -7
}

fn find(function: FindObject, pc: u64) -> Option<FoundObject> {
    let mut found = FoundObject {
        flags: 1,
        ..FoundObject::default()
    };
    let answer = function(pc, &raw mut found);
    assert!(answer == 0 || answer == -7);
    (answer == 0).then_some(found)
}

#[test]
fn the_code_is_found_with_a_description_of_both_areas() {
    let mut world = World::new(one_ring());
    let hook = world.place(
        world.common.hook(Hook::FindObject),
        None,
        find_nothing as *const () as u64,
    );
    // SAFETY: it is before a function of this type.
    let function: FindObject = unsafe { hook.function() };
    let (entries, returns) = (world.areas.entries.clone(), world.areas.returns.clone());
    for area in [&entries, &returns] {
        let (start, end) = (area.start.get(), area.end.get());
        for pc in [start, start + 1, start + 4095, end - 1] {
            let found = find(function, pc).expect("an answer");
            assert_eq!((found.flags, found.start, found.end), (0, start, end));
            // SAFETY: `l_addr`, the first member of the `link_map` that was found.
            assert_eq!(unsafe { *(found.link_map as *const u64) }, 0);
            check_description(&world, found.header, pc, *area == returns);
        }
    }
    let outside = [
        0,
        1,
        entries.start.get() - 1 - (1 << 30),
        entries.end.get(),
        returns.start.get() - 1,
        u64::MAX,
        !0 >> 1,
    ];
    for pc in outside {
        assert!(find(function, pc).is_none(), "{pc:#x}");
    }
}

/// Reads the tables as they lie in memory with gimli.
fn check_description(world: &World, header: u64, pc: u64, is_return: bool) {
    let start = world.areas.entries.start.get();
    // Everything that is read lies in the common code of the area of entries.
    let bytes = world.common.entries();
    let at = usize::try_from(header - start).unwrap();
    let bases = BaseAddresses::default().set_eh_frame_hdr(header);
    let parsed = EhFrameHdr::new(&bytes[at..], LittleEndian)
        .parse(&bases, 8)
        .expect("a header");
    let table = parsed.table().expect("a table");
    let gimli::Pointer::Direct(frame_at) = parsed.eh_frame_ptr() else {
        panic!()
    };
    let bases = bases.set_eh_frame(frame_at);
    let mut frame = EhFrame::new(&bytes[usize::try_from(frame_at - start).unwrap()..], LittleEndian);
    frame.set_address_size(8);
    let fde = table
        .fde_for_address(&frame, &bases, pc, |section, bases, offset| {
            section.cie_from_offset(bases, offset)
        })
        .expect("a description");
    assert!(fde.contains(pc));
    let mut context = UnwindContext::new();
    let row = fde
        .unwind_info_for_address(&frame, &bases, &mut context, pc)
        .expect("a row");
    let (rsp, rip) = (Register(7), Register(16));
    let past = if is_return { 0 } else { 8 };
    assert!(
        matches!(*row.cfa(), CfaRule::RegisterAndOffset { register, offset } if register == rsp && offset == past)
    );
    if !is_return {
        assert_eq!(row.register(rip), Some(RegisterRule::Offset(-8)));
        return;
    }
    assert!(fde.is_signal_trampoline());
    let Some(RegisterRule::ValExpression(expression)) = row.register(rip) else {
        panic!("{:?}", row.register(rip))
    };
    let expression: gimli::Expression<EndianSlice<'_, LittleEndian>> =
        expression.get(&frame).expect("an expression");
    let cfa = 0x7fff_1234_5670;
    let mut evaluation = expression.evaluation(fde.cie().encoding());
    evaluation.set_initial_value(cfa);
    let place = RETURN_ADDRESS.of(Addr::new(cfa - 8)).get();
    let wanted = evaluation.evaluate().unwrap();
    assert!(
        matches!(wanted, gimli::EvaluationResult::RequiresMemory { address, size: 8, .. } if address == place)
    );
    let end = evaluation
        .resume_with_memory(gimli::Value::Generic(0x1234))
        .unwrap();
    assert_eq!(end, gimli::EvaluationResult::Complete);
    let [piece] = &evaluation.result()[..] else {
        panic!()
    };
    assert_eq!(piece.location, gimli::Location::Address { address: 0x1233 });
}

unsafe extern "C" {
    fn backtrace(frames: *mut *mut c_void, room: c_int) -> c_int;
}

/// The slot through which the unwinder of this process asks for `_dl_find_object`.
fn slot_of_unwinder() -> *mut u64 {
    extern "C" fn look(info: *mut libc::dl_phdr_info, _size: usize, found: *mut c_void) -> c_int {
        // SAFETY: the linker hands out an object that is loaded.
        let info = unsafe { &*info };
        // SAFETY: a string of the linker's.
        let name = unsafe { CStr::from_ptr(info.dlpi_name) };
        if !name.to_bytes().windows(8).any(|part| part == b"libgcc_s") {
            return 0;
        }
        // SAFETY: `found` is what was given below.
        unsafe { *found.cast::<*mut u64>() = slot_in(info) };
        1
    }
    let mut found: *mut u64 = std::ptr::null_mut();
    // SAFETY: the callback is for this data.
    unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut found).cast()) };
    assert!(!found.is_null(), "libgcc_s asks for _dl_find_object");
    found
}

/// # Safety
/// `info` describes an object that is loaded.
unsafe fn slot_in(info: &libc::dl_phdr_info) -> *mut u64 {
    const DT_PLTRELSZ: u64 = 2;
    const DT_STRTAB: u64 = 5;
    const DT_SYMTAB: u64 = 6;
    const DT_RELA: u64 = 7;
    const DT_RELASZ: u64 = 8;
    const DT_JMPREL: u64 = 23;
    let load = |at: u64| -> u64 {
        // SAFETY: addresses in a loaded object.
        unsafe { (at as *const u64).read_unaligned() }
    };
    // SAFETY: the linker's array.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let dynamic = headers
        .iter()
        .find(|header| header.p_type == libc::PT_DYNAMIC)
        .unwrap();
    let start = info.dlpi_addr + dynamic.p_vaddr;
    let tag = |wanted: u64| {
        let mut at = start;
        while load(at) != 0 {
            if load(at) == wanted {
                return load(at + 8);
            }
            at += 16;
        }
        0
    };
    let (symbols, strings) = (tag(DT_SYMTAB), tag(DT_STRTAB));
    for (table, size) in [(tag(DT_JMPREL), tag(DT_PLTRELSZ)), (tag(DT_RELA), tag(DT_RELASZ))] {
        for at in (table..table + size).step_by(24) {
            let symbol = symbols + 24 * (load(at + 8) >> 32);
            // SAFETY: a name in the object's string table.
            let name = unsafe { CStr::from_ptr((strings + (load(symbol) & 0xffff_ffff)) as *const _) };
            if name == c"_dl_find_object" {
                return (info.dlpi_addr + load(at)) as *mut u64;
            }
        }
    }
    std::ptr::null_mut()
}

/// Makes the unwinder of this process find the world's code. It stays so.
fn teach_unwinder(world: &mut World) {
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap();
    // Once it has unwound something, the linker does not write the slot any more.
    std::panic::catch_unwind(|| std::panic::resume_unwind(Box::new(()))).unwrap_err();
    let slot = slot_of_unwinder();
    // SAFETY: the slot's page, which the linker may have made read-only. Others may read it meanwhile, and find one or the other.
    unsafe {
        let page = (slot as usize & !4095) as *mut c_void;
        assert_eq!(libc::mprotect(page, 4096, libc::PROT_READ | libc::PROT_WRITE), 0);
        let hook = world.place(world.common.hook(Hook::FindObject), None, *slot);
        slot.write_volatile(hook.entry());
    }
}

struct CountDrop<'a>(&'a Cell<u32>);

impl Drop for CountDrop<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

type Nested = extern "C-unwind" fn(&Levels<'_>) -> u64;

/// How deep to go through the stub, and what to do there.
struct Levels<'a> {
    deeper: Cell<u32>,
    through: Cell<Option<Nested>>,
    dropped: Cell<u32>,
    end: &'a dyn Fn(),
}

extern "C-unwind" fn nested(levels: &Levels<'_>) -> u64 {
    let _drop = CountDrop(&levels.dropped);
    match levels.deeper.get() {
        0 => (levels.end)(),
        deeper => {
            levels.deeper.set(deeper - 1);
            levels.through.get().unwrap()(levels);
        }
    }
    7
}

#[test]
fn panics_unwind_through_stubs() {
    let mut world = World::new(one_ring());
    teach_unwinder(&mut world);
    let stub = world.stub(&one_word(), nested as *const () as u64);
    let mut consumer = world.consumer(0);
    let inside = world.enter(0);
    // SAFETY: it is before `nested`.
    let through: Nested = unsafe { stub.function() };
    for deep in [0, 1, 20] {
        let levels = Levels {
            deeper: Cell::new(deep),
            through: Cell::new(Some(through)),
            dropped: Cell::new(0),
            end: &|| std::panic::resume_unwind(Box::new(17_u32)),
        };
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| through(&levels))).unwrap_err();
        assert_eq!(caught.downcast_ref(), Some(&17_u32));
        assert_eq!(levels.dropped.get(), deep + 1);
        // And everything still works.
        levels.deeper.set(2);
        let quiet = Levels {
            end: &|| {},
            ..levels
        };
        assert_eq!(through(&quiet), 7);
    }
    drop(inside);
    let seen = world.drain(&mut consumer);
    let count = |kind| seen.iter().filter(|record| record.kind == kind).count();
    assert_eq!((count(CALL), count(RETURN)), (1 + 2 + 21 + 9, 9));
}

#[test]
fn stack_traces_go_on_behind_stubs() {
    let mut world = World::new(one_ring());
    teach_unwinder(&mut world);
    let stub = world.stub(&one_word(), nested as *const () as u64);
    let _inside = world.enter(0);
    // SAFETY: it is before `nested`.
    let through: Nested = unsafe { stub.function() };
    let frames = Cell::new([std::ptr::null_mut(); 100]);
    let trace = || {
        let mut found = frames.get();
        // SAFETY: there is so much room.
        let count = unsafe { backtrace(found.as_mut_ptr(), 100) };
        assert!(count > 20, "{count} frames");
        frames.set(found);
    };
    let levels = Levels {
        deeper: Cell::new(5),
        through: Cell::new(Some(through)),
        dropped: Cell::new(0),
        end: &trace,
    };
    through(&levels);
    let site = stub.template.return_site(&stub.places).unwrap().get();
    let sites = frames.get().iter().filter(|&&frame| frame as u64 == site).count();
    assert_eq!(sites, 6);
}

type Callback = extern "C" fn(*mut libc::dl_phdr_info, usize, *mut c_void) -> c_int;

/// What the callback has seen: names, and the segments of the last.
#[derive(Default)]
struct Walk {
    names: Vec<Vec<u8>>,
    segments: Vec<(u32, u64, u64)>,
    stop_after: usize,
}

extern "C" fn see(info: *mut libc::dl_phdr_info, size: usize, walk: *mut c_void) -> c_int {
    // SAFETY: the data are what was given, the object what the linker or the hook hands out.
    let (info, walk) = unsafe { (&*info, &mut *walk.cast::<Walk>()) };
    assert!(size >= size_of::<libc::dl_phdr_info>());
    // SAFETY: as above.
    let (name, headers) = unsafe {
        let headers = std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into());
        (CStr::from_ptr(info.dlpi_name), headers)
    };
    walk.names.push(name.to_bytes().to_vec());
    let segment =
        |header: &libc::Elf64_Phdr| (header.p_type, info.dlpi_addr + header.p_vaddr, header.p_memsz);
    walk.segments = headers.iter().map(segment).collect();
    if walk.names.len() == walk.stop_after {
        42
    } else {
        0
    }
}

#[test]
fn the_code_is_one_more_object() {
    let mut world = World::new(one_ring());
    let hook = world.place(
        world.common.hook(Hook::IteratePhdr),
        None,
        libc::dl_iterate_phdr as *const () as u64,
    );
    // SAFETY: it is before a function of this type.
    let through: extern "C" fn(Callback, *mut Walk) -> c_int = unsafe { hook.function() };
    let mut walk = Walk::default();
    assert_eq!(through(see, &raw mut walk), 0);
    let (last, others) = walk.names.split_last().unwrap();
    assert_eq!(last, b"[recording code]");
    assert!(others.len() > 2 && !others.contains(last));
    let (entries, returns) = (&world.areas.entries, &world.areas.returns);
    let loads: Vec<(u64, u64)> = walk
        .segments
        .iter()
        .filter(|segment| segment.0 == libc::PT_LOAD)
        .map(|&(_, at, len)| (at, at + len))
        .collect();
    assert_eq!(
        loads,
        [
            (entries.start.get(), entries.end.get()),
            (returns.start.get(), returns.end.get())
        ]
    );
    let header = walk
        .segments
        .iter()
        .find(|segment| segment.0 == libc::PT_GNU_EH_FRAME)
        .unwrap()
        .1;
    check_description(&world, header, returns.start.get(), true);
    let mut stopped = Walk {
        stop_after: 2,
        ..Walk::default()
    };
    assert_eq!(through(see, &raw mut stopped), 42);
    assert_eq!(stopped.names.len(), 2);
    let mut last_stops = Walk {
        stop_after: walk.names.len(),
        ..Walk::default()
    };
    assert_eq!(through(see, &raw mut last_stops), 42);
}
