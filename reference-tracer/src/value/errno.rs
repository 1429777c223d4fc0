//! The names of errors.

use nix::errno::Errno;

/// The name of an errno: `ENOENT`. `None`: it has none.
pub(crate) fn name(errno: i32) -> Option<&'static str> {
    let known = Errno::from_raw(errno);
    (known != Errno::UnknownErrno)
        .then(|| NAMES.iter().find(|(value, _)| *value == known))
        .flatten()
        .map(|(_, name)| *name)
}

/// What an errno means, in the C library's words: `No such file or directory`.
pub(super) fn meaning(errno: i32) -> String {
    let mut text = std::io::Error::from_raw_os_error(errno).to_string();
    if let Some(end) = text.find(" (os error ") {
        text.truncate(end);
    }
    text
}

/// Appends a space, and why a call has failed.
pub(crate) fn write(errno: i32, out: &mut Vec<u8>) {
    use std::io::Write as _;
    // Writing to a Vec does not fail.
    let _ = match name(errno) {
        Some(name) => write!(out, " {name} ({})", meaning(errno)),
        None => write!(out, " errno {errno}"),
    };
}

macro_rules! names {
    ($($name:ident)*) => {
        static NAMES: &[(Errno, &str)] = &[$((Errno::$name, stringify!($name))),*];
    };
}

names! {
    EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY EEXIST
    EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM
    ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP ENOMSG EIDRM ECHRNG EL2NSYNC EL3HLT EL3RST ELNRNG
    EUNATCH ENOCSI EL2HLT EBADE EBADR EXFULL ENOANO EBADRQC EBADSLT EBFONT ENOSTR ENODATA ETIME ENOSR ENONET ENOPKG
    EREMOTE ENOLINK EADV ESRMNT ECOMM EPROTO EMULTIHOP EDOTDOT EBADMSG EOVERFLOW ENOTUNIQ EBADFD EREMCHG ELIBACC
    ELIBBAD ELIBSCN ELIBMAX ELIBEXEC EILSEQ ERESTART ESTRPIPE EUSERS ENOTSOCK EDESTADDRREQ EMSGSIZE EPROTOTYPE
    ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL
    ENETDOWN ENETUNREACH ENETRESET ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN ESHUTDOWN ETOOMANYREFS ETIMEDOUT
    ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY EINPROGRESS ESTALE EUCLEAN ENOTNAM ENAVAIL EISNAM EREMOTEIO EDQUOT
    ENOMEDIUM EMEDIUMTYPE ECANCELED ENOKEY EKEYEXPIRED EKEYREVOKED EKEYREJECTED EOWNERDEAD ENOTRECOVERABLE ERFKILL
    EHWPOISON
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_number_that_has_a_meaning_has_a_name() {
        for errno in 1..=133 {
            let unknown = super::meaning(errno).starts_with("Unknown error");
            assert_eq!(super::name(errno).is_none(), unknown, "{errno}");
        }
        assert_eq!(super::name(2), Some("ENOENT"));
        assert_eq!(super::meaning(2), "No such file or directory");
    }
}
