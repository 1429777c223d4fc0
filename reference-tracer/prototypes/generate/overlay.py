"""What no header says, written by hand in `../overlay`, and what the manual pages say of errors."""

import gzip
import re
from dataclasses import dataclass, field
from pathlib import Path

from . import flagsets, gir

NAME = re.compile(r"([\w.$@]+)\(")


@dataclass
class Overlay:
    """The curated facts."""

    files: dict[str, dict[str, str]] = field(default_factory=dict)  # soname, function, line
    params: dict[tuple[str, str], str] = field(default_factory=dict)  # (function, parameter), lens
    errno: dict[str, str] = field(default_factory=dict)  # function, expression
    said: dict[str, list[gir.Said]] = field(default_factory=dict)  # function, what its library says of its parameters

    def lines(self, soname: str) -> dict[str, str]:
        """The lines of a library's own file."""
        return self.files.get(soname, {})

    def param(self, source: str, function: str, name: str) -> str | None:
        """The lens of a parameter that its type does not tell, such as a set of flags."""
        if source != "glibc":
            return None
        return self.params.get((function, name))


def read(folder: Path, root: Path) -> Overlay:
    """Reads the overlay, and the manual pages and introspection files of a root."""
    overlay = Overlay(errno=read_errno(root / "usr/share/man"), said=gir.read(root / "usr/share/gir-1.0"))
    for path in sorted(folder.glob("*.conf")):
        overlay.files[path.stem] = {line_name(line): line for line in items(path)}
    for each in flagsets.read(folder / "flagsets.toml"):
        overlay.params |= {param: each.name for param in each.params}
    for line in items(folder / "errno.tsv"):
        function, expression = line.split("\t")
        overlay.errno[function] = expression
        if expression == "-":
            del overlay.errno[function]
    return overlay


def items(path: Path) -> list[str]:
    """The lines of a file without comments and empty ones."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def line_name(line: str) -> str:
    """The function that a line is about."""
    if line.startswith("alias "):
        return line.split()[1]
    found = NAME.search(line)
    if found is None:
        raise ValueError(f"no function in {line!r}")
    return found[1]


def read_errno(manual: Path) -> dict[str, str]:
    """Which functions set `errno`, and what they return then, as sections 2 and 3 of the manual say.

    The fact is taken from RETURN VALUE: it must say that `errno` is set, and -1 or NULL is returned.
    """
    rules: dict[str, str] = {}
    for path in sorted([*manual.glob("man2/*.2.gz"), *manual.glob("man3/*.3.gz")]):
        page = read_page(path)
        rule = errno_rule(section(page, "RETURN VALUE"))
        if rule is not None and section(page, "ERRORS"):
            for name in set(re.findall(r"\b(\w+)\(", section(page, "SYNOPSIS"))):
                rules.setdefault(name, rule)
    return rules


def read_page(path: Path) -> str:
    """A page's source without fonts; a page that only names another is that page."""
    text = gzip.decompress(path.read_bytes()).decode("utf-8", "replace")
    other = re.match(r"\.so (man\d/\S+)", text)
    if other is not None and (path.parent.parent / f"{other[1]}.gz").exists():
        return read_page(path.parent.parent / f"{other[1]}.gz")
    return re.sub(r"\\f[BIRP]|\\-|^\.[BIR]{1,2} |\"", lambda m: "-" if m[0] == "\\-" else "", text, flags=re.MULTILINE)


def section(page: str, title: str) -> str:
    """A section of a manual page."""
    found = re.search(rf"^\.SH {title}\n(.*?)(?=^\.SH |\Z)", page, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


def errno_rule(says: str) -> str | None:
    """`-1` or `0`, if the text says that it is returned with `errno` set, and only one of them."""
    if "errno" not in says or re.search(r"error number is returned|errno is not set", says):
        return None
    minus, null = re.search(r"-1\b", says), re.search(r"\bNULL\b", says)
    if bool(minus) == bool(null):
        return None
    return "-1" if minus else "0"
