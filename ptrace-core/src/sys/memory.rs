//! The memory of other processes.

use std::io;
use std::ptr;

use arch_abi::Addr;

use crate::id::Tid;

/// `process_vm_readv(2)`: fills the buffers one after the other from the addresses beside them, and gives how
/// many bytes came. Ranges past the first [`READ_BATCH`] are left out.
pub(crate) fn read_memory(tid: Tid, ranges: &mut [(Addr, &mut [u8])]) -> io::Result<usize> {
    let mut local = [libc::iovec {
        iov_base: ptr::null_mut(),
        iov_len: 0,
    }; READ_BATCH];
    let mut remote = local;
    let count = ranges.len().min(READ_BATCH);
    for (i, (at, buf)) in ranges.iter_mut().take(READ_BATCH).enumerate() {
        let Ok(start) = usize::try_from(at.get()) else {
            return Err(io::Error::from_raw_os_error(libc::EFAULT));
        };
        local[i] = libc::iovec {
            iov_base: buf.as_mut_ptr().cast(),
            iov_len: buf.len(),
        };
        remote[i] = libc::iovec {
            iov_base: ptr::without_provenance_mut(start),
            iov_len: buf.len(),
        };
    }
    // SAFETY: the first `count` entries of `local` describe the exclusively borrowed buffers of
    // `ranges`, which outlive the call; `remote` holds addresses of the other process, which the
    // kernel checks (process_vm_readv(2)).
    let done = unsafe {
        libc::process_vm_readv(
            tid.raw(),
            local.as_ptr(),
            count as libc::c_ulong,
            remote.as_ptr(),
            count as libc::c_ulong,
            0,
        )
    };
    usize::try_from(done).map_err(|_| io::Error::last_os_error())
}

/// The most ranges that one [`read_memory`] takes.
pub(crate) const READ_BATCH: usize = 16;
