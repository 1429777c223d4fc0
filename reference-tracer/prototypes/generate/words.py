"""C's names as the language's: which typedef stands for which of its types, which names mean what.

LANGUAGE.md, "Types". A type must be right for i386 too, though the headers were read for x86-64: so a
typedef of fixed width is taken by its name, and `long` is a word.
"""

import re

BASES = {
    "BOOL": "_Bool", "CHAR_S": "char", "CHAR_U": "char", "SCHAR": "int8_t", "UCHAR": "uint8_t", "SHORT": "short",
    "USHORT": "ushort", "INT": "int", "UINT": "uint", "LONG": "long", "ULONG": "ulong", "LONGLONG": "llong",
    "ULONGLONG": "ullong", "INT128": "__int128", "UINT128": "unsigned __int128", "WCHAR": "wchar_t",
    "CHAR16": "uint16_t", "CHAR32": "uint32_t",
    "FLOAT": "float", "DOUBLE": "double", "LONGDOUBLE": "long double",
}
# `result lens` may hold no parenthesis, so complex types have names in types.conf.
COMPLEX = {"FLOAT": "float_complex", "DOUBLE": "double_complex", "LONGDOUBLE": "ldouble_complex"}


def _fixed() -> dict[str, str]:
    words = {}
    for bits in ("8", "16", "32", "64"):
        for name in ("int{}_t", "__int{}_t", "gint{}", "__s{}", "int_least{}_t", "__int_least{}_t", "sint{}"):
            words[name.format(bits)] = f"int{bits}_t"
        for name in ("uint{}_t", "__uint{}_t", "guint{}", "__u{}", "__le{}", "__be{}", "u_int{}_t", "uint_least{}_t"):
            words[name.format(bits)] = f"uint{bits}_t"
    for name in ("off64_t", "__off64_t", "loff_t", "__loff_t", "goffset"):
        words[name] = "off64_t"
    for name in ("ino64_t", "fsblkcnt64_t", "fsfilcnt64_t", "rlim64_t"):
        words[name] = words[f"__{name}"] = "uint64_t"
    words |= {"blkcnt64_t": "int64_t", "__blkcnt64_t": "int64_t", "__time64_t": "int64_t"}
    plain = ["size_t", "ssize_t", "off_t", "ptrdiff_t", "intptr_t", "uintptr_t", "time_t", "pid_t", "uid_t", "gid_t"]
    for name in [*plain, "mode_t", "socklen_t", "dev_t", "ino_t"]:
        words[name] = words[f"__{name}"] = name
    words |= {"gsize": "size_t", "gssize": "ssize_t", "gintptr": "intptr_t", "guintptr": "uintptr_t"}
    words |= {"gboolean": "gboolean", "gunichar": "uint32_t", "gunichar2": "uint16_t", "wchar_t": "wchar_t"}
    return words | {"time64_t": "int64_t", "errno_t": "errnum", "error_t": "errnum"}


FIXED = _fixed()
FD = re.compile(r"(^|_)(fd|fildes|filedes|sockfd|sfd)$|^(oldfd|newfd|epfd|dirfd|infd|outfd|olddirfd|newdirfd)$")
SIGNAL = re.compile(r"^(sig|signo|signum)$")
LENGTH = re.compile(
    r"(^|_)(n|len|length|size|sz|siz|nbytes|nbyte|bytes|count|cnt|num|max|capacity|nitems|inl|tlen|dlen)$"
    r"|(len|size|length)$",
)
SIZE_TYPES = {"size_t", "__size_t", "gsize", "ssize_t", "gssize", "socklen_t", "__socklen_t"}
OFFSETS = {"off_t", "__off_t", "off64_t", "__off64_t", "loff_t"}
OUT_NAME = re.compile(r"(^|_)(dest|dst|out|outbuf|output|result|res|ret|to|buffer|md|digest|buf|resolved)$")
FORMAT_NAME = re.compile(r"^(fmt|frmt|format|.*_fmt|.*_format|template)$")
BYTES = {
    "uint8_t", "guint8", "guchar", "Byte", "Bytef", "u_char", "u8", "uint8", "xmlChar", "byte", "u_int8_t",
    "unsigned char", "png_byte", "FcChar8",
}
TEXT = {"xmlChar", "FcChar8", "gchar", "sqlite3_char"}
# What the language takes for something else where it stands in an expression.
RESERVED = {"retval", "min", "max", "zero", "if", "inout"} | {f"arg{n}" for n in range(100)} | {f"elt{n}" for n in range(100)}


def name_of(name: str) -> str:
    """A parameter's or field's name as the language can take it; empty if it can't."""
    name = name.lstrip("_")
    if not re.fullmatch(r"[A-Za-z]\w*", name) or name in RESERVED:
        return ""
    return name
