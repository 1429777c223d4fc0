"""How much of what programs import the prototypes beside this folder cover, weighted by program.

`python3 -m generate coverage demand.tsv` prints `SONAME<TAB>PROGRAMS<TAB>FUNCTIONS<TAB>COVERED` for the libraries
that are imported most, and for all: PROGRAMS counts pairs of a program and a function, COVERED is their share in
per cent. A C++ function without a line of its own counts apart: its mangled name tells its parameters.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from .demand import Demand
from .overlay import items, line_name


@dataclass
class Coverage:
    """Pairs of a program and a function that it imports: all, with a prototype, with a mangled name only."""

    all: Counter = field(default_factory=Counter)
    functions: Counter = field(default_factory=Counter)
    covered: Counter = field(default_factory=Counter)
    mangled: Counter = field(default_factory=Counter)
    missing: Counter = field(default_factory=Counter)  # (soname, function)

    def row(self, soname: str) -> str:
        """A library's line."""
        return self.line(soname, self.all[soname], self.functions[soname], self.covered[soname], self.mangled[soname])

    def total(self) -> str:
        """The line of all libraries."""
        return self.line("all", self.all.total(), self.functions.total(), self.covered.total(), self.mangled.total())

    @staticmethod
    def line(name: str, pairs: int, functions: int, covered: int, mangled: int) -> str:
        """One line."""
        share = f"{100 * covered / pairs:.2f}" if pairs else "-"
        return f"{name}\t{pairs}\t{functions}\t{share}\t{100 * (covered + mangled) / max(pairs, 1):.2f}"

    def share(self, soname: str | None = None, mangled: bool = True) -> float:
        """The covered share of a library's pairs, or of all."""
        if soname is None:
            return (self.covered.total() + (self.mangled.total() if mangled else 0)) / self.all.total()
        return (self.covered[soname] + (self.mangled[soname] if mangled else 0)) / self.all[soname]


def read_names(folders: list[Path]) -> dict[str, set[str]]:
    """The functions that the files of some folders describe, by soname."""
    names: dict[str, set[str]] = {}
    for folder in folders:
        for path in folder.glob("*.conf"):
            if path.name != "types.conf":
                names.setdefault(path.stem, set()).update(line_name(line) for line in items(path))
    return names


def measure(demand: Demand, names: dict[str, set[str]]) -> Coverage:
    """What of the demand of programs is covered."""
    found = Coverage()
    for (soname, function), programs in demand.programs.items():
        found.all[soname] += programs
        found.functions[soname] += programs > 0
        if function in names.get(soname, ()):
            found.covered[soname] += programs
        elif function.startswith("_Z"):
            found.mangled[soname] += programs
        else:
            found.missing[soname, function] += programs
    return found
