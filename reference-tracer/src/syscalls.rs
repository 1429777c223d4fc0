//! The system calls of the machines that are traced: their names by number.

use arch_abi::Arch;

/// `AUDIT_ARCH_I386` (`linux/audit.h`).
const AUDIT_I386: u32 = 0x4000_0003;
/// `__X32_SYSCALL_BIT` (`asm/unistd.h`): the same table, with pointers of four bytes.
const X32_BIT: u64 = 0x4000_0000;

/// Whose table a system call is of: a 64-bit program can make one of i386's (`int $0x80`).
#[must_use]
pub fn arch_of(audit: u32) -> Arch {
    if audit == AUDIT_I386 {
        Arch::I386
    } else {
        Arch::X86_64
    }
}

/// The name of a system call, or its number as `syscall_N` for one that is newer than this table.
#[must_use]
pub fn name(arch: Arch, number: u64) -> String {
    let small = |number: u64| usize::try_from(number).ok();
    let known = match arch {
        Arch::I386 => small(number)
            .and_then(syscalls::x86::Sysno::new)
            .map(|call| call.name()),
        _ => small(number & !X32_BIT)
            .and_then(syscalls::x86_64::Sysno::new)
            .map(|call| call.name()),
    };
    let known = known.or_else(|| newer(number));
    // The table spells words of Rust as Rust does.
    let known = known.map(|name| name.trim_start_matches("r#"));
    known.map_or_else(|| format!("syscall_{number}"), str::to_owned)
}

/// Calls that have the same number on all machines and are newer than the table that is used
/// (`scripts/syscall.tbl` of Linux 6.18).
fn newer(number: u64) -> Option<&'static str> {
    Some(match number {
        463 => "setxattrat",
        464 => "getxattrat",
        465 => "listxattrat",
        466 => "removexattrat",
        467 => "open_tree_attr",
        468 => "file_getattr",
        469 => "file_setattr",
        _ => return None,
    })
}

/// Every number that has a name.
pub fn numbers(arch: Arch) -> impl Iterator<Item = u64> {
    (0..1024).filter(move |&number| !name(arch, number).starts_with("syscall_"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Prototypes;

    #[test]
    fn numbers_have_names() {
        assert_eq!(name(Arch::X86_64, 0), "read");
        assert_eq!(name(Arch::I386, 3), "read");
        assert_eq!(name(Arch::X86_64, 257), "openat");
        assert_eq!(name(Arch::X86_64, 0x4000_0101), "openat");
        assert_eq!(name(Arch::X86_64, 469), "file_setattr");
        assert_eq!(name(Arch::X86_64, u64::MAX), format!("syscall_{}", u64::MAX));
        assert_eq!(arch_of(0xc000_003e), Arch::X86_64);
    }

    /// No system call is shown as bare numbers.
    #[test]
    fn every_system_call_is_described() {
        let mut prototypes = Prototypes::new();
        let problems = prototypes.describe_syscalls();
        assert_eq!(problems, []);
        for arch in [Arch::X86_64, Arch::I386] {
            assert!(numbers(arch).count() > 350);
            let bare: Vec<String> = numbers(arch)
                .map(|number| name(arch, number))
                .filter(|name| !prototypes.syscall_plan(arch, name).known)
                .collect();
            assert!(bare.is_empty(), "{bare:?}");
        }
    }
}
