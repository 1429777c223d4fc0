//! The link map of this very process, against `dl_iterate_phdr`'s view in `/proc/self/maps`.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;

use arch_abi::Addr;
use elf_plt::{Auxv, Memory, Object, RState, read_debug_slot, read_namespaces, read_r_debug};

/// `/proc/self/mem`.
struct SelfMemory(fs::File);

impl Memory for SelfMemory {
    type Error = io::Error;
    fn read(&self, at: Addr, buf: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buf, at.get())
    }
}

#[test]
fn every_loaded_object_is_in_the_list_where_maps_has_it() {
    let auxv = Auxv::parse(&fs::read("/proc/self/auxv").unwrap(), size_of::<usize>());
    let program = fs::read("/proc/self/exe").unwrap();
    let program = Object::parse(&program).unwrap();
    let base = program.base_from_phdr(auxv.phdr().unwrap()).unwrap();
    assert_eq!(auxv.entry(), program.entry().map(|entry| base.resolve(entry)));
    let memory = SelfMemory(fs::File::open("/proc/self/mem").unwrap());
    let slot = base.resolve(program.debug_slot().unwrap());
    let first = read_debug_slot(&memory, slot, 8).unwrap().unwrap();
    let namespaces = read_namespaces(&memory, first, 8).unwrap();
    assert_eq!(namespaces.len(), 1);
    let namespace = &namespaces[0];
    assert_eq!(namespace.r_debug.state, RState::Consistent);
    let main = &namespace.objects[0];
    assert_eq!((main.base, main.name.as_slice()), (base, &b""[..]));
    assert_eq!(main.dynamic, base.resolve(program.dynamic_addr().unwrap()));

    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mut seen = 0;
    for object in namespace
        .objects
        .iter()
        .filter(|object| object.name.starts_with(b"/"))
    {
        let path = std::str::from_utf8(&object.name).unwrap();
        let real = fs::canonicalize(path).unwrap();
        let line = maps
            .lines()
            .find(|line| line.ends_with(real.to_str().unwrap()))
            .unwrap();
        let fields: Vec<_> = line.split_whitespace().collect();
        let start = u64::from_str_radix(fields[0].split('-').next().unwrap(), 16).unwrap();
        let offset = u64::from_str_radix(fields[2], 16).unwrap();
        let data = fs::read(&real).unwrap();
        let file = Object::parse(&data).unwrap();
        assert_eq!(
            file.base_from_mapping(Addr::new(start), offset),
            Some(object.base),
            "{path}"
        );
        assert_eq!(
            object.base.resolve(file.dynamic_addr().unwrap()),
            object.dynamic,
            "{path}"
        );
        seen += 1;
    }
    assert!(seen >= 2, "libc and ld.so at least");
}

/// Where `DT_DEBUG` is not filled yet, `_r_debug` of the dynamic linker is the same list.
#[test]
fn the_dynamic_linkers_symbol_leads_to_the_same_list() {
    let auxv = Auxv::parse(&fs::read("/proc/self/auxv").unwrap(), size_of::<usize>());
    let program = fs::read("/proc/self/exe").unwrap();
    let program = Object::parse(&program).unwrap();
    let interpreter = std::str::from_utf8(program.interpreter().unwrap()).unwrap();
    let data = fs::read(interpreter).unwrap();
    let linker = Object::parse(&data).unwrap();
    let base = linker.base_from_mapping(auxv.base().unwrap(), 0).unwrap();
    let symbol = linker.lookup(b"_r_debug", None).unwrap().unwrap();
    let memory = SelfMemory(fs::File::open("/proc/self/mem").unwrap());
    let r_debug = read_r_debug(&memory, base.resolve(symbol.addr), 8).unwrap();
    assert_eq!(r_debug.ldbase, base);
    let brk = linker.lookup(b"_dl_debug_state", None).unwrap();
    assert_eq!(r_debug.brk, brk.map(|symbol| base.resolve(symbol.addr)));
    let first = program.base_from_phdr(auxv.phdr().unwrap()).unwrap();
    assert_eq!(
        read_namespaces(&memory, r_debug.at, 8).unwrap()[0].objects[0].base,
        first
    );
}

#[test]
fn the_vdso_is_an_object() {
    let auxv = Auxv::parse(&fs::read("/proc/self/auxv").unwrap(), size_of::<usize>());
    let at = auxv.sysinfo_ehdr().unwrap();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| line.ends_with("[vdso]")).unwrap();
    let (start, rest) = line.split_once('-').unwrap();
    let end = u64::from_str_radix(rest.split_whitespace().next().unwrap(), 16).unwrap();
    assert_eq!(u64::from_str_radix(start, 16).unwrap(), at.get());
    let mut data = vec![0; usize::try_from(end - at.get()).unwrap()];
    fs::File::open("/proc/self/mem")
        .unwrap()
        .read_exact_at(&mut data, at.get())
        .unwrap();
    let object = Object::parse(&data).unwrap();
    assert_eq!(object.soname(), Some(&b"linux-vdso.so.1"[..]));
    assert!(object.lookup(b"__vdso_clock_gettime", None).unwrap().is_some());
}
