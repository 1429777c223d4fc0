//! Users and their groups.

use std::ffi::{CStr, CString, OsStr, c_char, c_int};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::ptr;

use crate::command::User;

pub(crate) fn lookup_user(name: &str) -> io::Result<User> {
    let unknown = || io::Error::new(io::ErrorKind::NotFound, "there is no such user");
    let c_name = CString::new(name).map_err(|_| unknown())?;
    if let Some(user) = passwd(|entry, buf, result| {
        // SAFETY: `passwd` gives pointers that are valid for what getpwnam_r(3) writes.
        unsafe { libc::getpwnam_r(c_name.as_ptr(), entry, buf.as_mut_ptr(), buf.len(), result) }
    })? {
        return Ok(user);
    }
    let uid: libc::uid_t = name.parse().map_err(|_| unknown())?;
    passwd(|entry, buf, result| {
        // SAFETY: `passwd` gives pointers that are valid for what getpwuid_r(3) writes.
        unsafe { libc::getpwuid_r(uid, entry, buf.as_mut_ptr(), buf.len(), result) }
    })?
    .ok_or_else(unknown)
}

/// The largest entry of the user database that is read.
const MAX_PASSWD: usize = 1 << 20;

fn passwd(
    lookup: impl Fn(*mut libc::passwd, &mut [c_char], *mut *mut libc::passwd) -> c_int,
) -> io::Result<Option<User>> {
    let mut buf = vec![0; 1024];
    loop {
        let mut entry = MaybeUninit::<libc::passwd>::zeroed();
        let mut result = ptr::null_mut();
        match lookup(entry.as_mut_ptr(), &mut buf, &raw mut result) {
            0 if result.is_null() => return Ok(None),
            0 => {}
            libc::ERANGE if buf.len() < MAX_PASSWD => {
                buf.resize(buf.len() * 2, 0);
                continue;
            }
            libc::ENOENT | libc::ESRCH => return Ok(None), // getpwnam(3), "ERRORS"
            errno => return Err(io::Error::from_raw_os_error(errno)),
        }
        // SAFETY: the call succeeded with a result, so it filled `entry`.
        let entry = unsafe { entry.assume_init() };
        // SAFETY: its strings are NUL-terminated and lie in `buf`, which lives.
        let (name, home) = unsafe { (CStr::from_ptr(entry.pw_name), CStr::from_ptr(entry.pw_dir)) };
        return Ok(Some(User {
            uid: entry.pw_uid,
            gid: entry.pw_gid,
            groups: groups(name, entry.pw_gid)?,
            home: PathBuf::from(OsStr::from_bytes(home.to_bytes())),
        }));
    }
}

/// The most groups that a process may have (`NGROUPS_MAX`, setgroups(2)).
const MAX_GROUPS: usize = 65536;

fn groups(name: &CStr, gid: u32) -> io::Result<Vec<u32>> {
    let mut groups = vec![0; 64];
    loop {
        let mut count = c_int::try_from(groups.len()).unwrap_or(c_int::MAX);
        // SAFETY: `groups` has room for `count` entries, and the call writes no more
        // (getgrouplist(3)).
        let rc = unsafe { libc::getgrouplist(name.as_ptr(), gid, groups.as_mut_ptr(), &raw mut count) };
        let needed = usize::try_from(count).unwrap_or(0);
        if rc >= 0 {
            groups.truncate(needed);
            return Ok(groups);
        }
        if groups.len() >= MAX_GROUPS {
            return Err(io::Error::from_raw_os_error(libc::E2BIG));
        }
        groups.resize(needed.max(groups.len() * 2).min(MAX_GROUPS), 0);
    }
}
