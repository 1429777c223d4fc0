"""What programs import, and from where: which function of which library how many programs call.

The provider of a function is the first library, in the breadth-first order of DT_NEEDED that the dynamic
linker searches, that defines it (gABI, "Shared Object Dependencies").
"""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from . import elf

PROGRAM_FOLDERS = ["usr/bin", "usr/sbin", "usr/lib", "usr/libexec"]
LIBRARY_FOLDERS = ["usr/lib/x86_64-linux-gnu", "usr/lib", "usr/lib64", "usr/local/lib"]


@dataclass
class Demand:
    """How often each function is imported: (soname, function) to a number of files."""

    programs: Counter = field(default_factory=Counter)
    libraries: Counter = field(default_factory=Counter)
    program_count: int = 0


class Machine:
    """The files of a machine, or of a root in which packages are unpacked."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.images: dict[Path, elf.Image | None] = {}
        folders = [root / name for name in LIBRARY_FOLDERS]
        lists = sorted((root / "etc/ld.so.conf.d").glob("*.conf"))
        named = [line.strip() for path in lists for line in path.read_text(encoding="utf-8").splitlines()]
        self.folders = [*folders, *(root / name[1:] for name in named if name.startswith("/"))]

    def files(self) -> list[Path]:
        """The regular files that may be programs or libraries, each file once."""
        found: dict[tuple[int, int], Path] = {}
        for top in PROGRAM_FOLDERS:
            for folder, _, names in os.walk(self.root / top):
                for name in names:
                    path = Path(folder, name)
                    if path.is_file() and not path.is_symlink():
                        stat = path.stat()
                        found.setdefault((stat.st_dev, stat.st_ino), path)
        return sorted(found.values())

    def image(self, path: Path) -> elf.Image | None:
        """What `elf.read` says, remembered."""
        real = Path(os.path.realpath(path))
        if real not in self.images:
            self.images[real] = elf.read(real)
        return self.images[real]

    def find(self, name: str, importer: elf.Image) -> elf.Image | None:
        """The library that `importer` gets for a DT_NEEDED entry."""
        origin = str(importer.path.parent)
        own = [folder.replace("$ORIGIN", origin).replace("${ORIGIN}", origin) for folder in importer.folders]
        own = [folder if folder.startswith(origin) else f"{self.root}{folder}" for folder in own]
        for folder in [*map(Path, own), *self.folders]:
            if (folder / name).exists():
                return self.image(folder / name)
        return None

    def scope(self, image: elf.Image) -> list[elf.Image]:
        """The libraries of a file in the order in which they are searched."""
        order: list[elf.Image] = []
        seen, waiting = set(), [image]
        for importer in waiting:
            for name in importer.needed:
                library = self.find(name, importer)
                if library is not None and library.path not in seen:
                    seen.add(library.path)
                    order.append(library)
                    waiting.append(library)
        return order


def measure(root: Path) -> Demand:
    """Counts the imports of all files below a root."""
    machine, demand = Machine(root), Demand()
    for path in machine.files():
        image = machine.image(path)
        if image is None:
            continue
        counter = demand.programs if image.program else demand.libraries
        demand.program_count += image.program
        scope = machine.scope(image)
        counter.update(pair for name in image.imports if (pair := provider(name, scope)) is not None)
    return demand


def provider(name: str, scope: list[elf.Image]) -> tuple[str, str] | None:
    """The soname of the library that defines a function, and its name. `None`: nobody does, or it is data."""
    for library in scope:
        if name in library.exports:
            code = any(export.kind in elf.CODE for export in library.exports[name])
            return (library.soname, name) if code else None
    return None


def write(path: Path, demand: Demand) -> None:
    """Writes `SONAME<TAB>FUNCTION<TAB>PROGRAMS<TAB>LIBRARIES`, most wanted first."""
    keys = sorted(demand.programs | demand.libraries, key=lambda key: (-demand.programs[key], -demand.libraries[key], key))
    rows = [f"{key[0]}\t{key[1]}\t{demand.programs[key]}\t{demand.libraries[key]}\n" for key in keys]
    path.write_text(f"# {demand.program_count} programs\n" + "".join(rows), encoding="utf-8")


def read(path: Path) -> Demand:
    """Reads what `write` wrote."""
    demand = Demand()
    with path.open(encoding="utf-8") as lines:
        demand.program_count = int(next(lines).split()[1])
        for line in lines:
            soname, name, programs, libraries = line.rstrip("\n").split("\t")
            demand.programs[soname, name] = int(programs)
            demand.libraries[soname, name] = int(libraries)
    return demand
