"""What the dynamic linker reads of an ELF file for x86-64: needed libraries, imports and exports.

The words are those of the gABI and of the LSB's chapter "Symbol Versioning".
"""

import struct
from dataclasses import dataclass, field
from pathlib import Path

MACHINES = {62}  # EM_X86_64
ET_EXEC, ET_DYN = 2, 3
PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NEEDED, DT_STRTAB, DT_SYMTAB, DT_STRSZ, DT_SONAME = 1, 5, 6, 10, 14
DT_RPATH, DT_RUNPATH, DT_FLAGS_1 = 15, 29, 0x6FFFFFFB
DT_VERSYM, DT_VERDEF, DT_VERDEFNUM = 0x6FFFFFF0, 0x6FFFFFFC, 0x6FFFFFFD
DF_1_PIE = 0x08000000
SHT_DYNSYM = 11
STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_TLS, STT_GNU_IFUNC = 0, 1, 2, 6, 10
STB_LOCAL, STB_WEAK = 0, 2
STV_DEFAULT, STV_PROTECTED = 0, 3
CODE = {STT_NOTYPE, STT_FUNC, STT_GNU_IFUNC}


@dataclass(frozen=True)
class Export:
    """A definition in the dynamic symbol table."""

    kind: int
    address: int
    version: str
    default: bool  # what `name` alone binds to, as the linker sees it


@dataclass
class Image:
    """One ELF file as the dynamic linker sees it."""

    path: Path
    soname: str
    program: bool
    needed: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)  # DT_RPATH and DT_RUNPATH
    imports: dict[str, bool] = field(default_factory=dict)  # name, whether the reference is weak
    exports: dict[str, list[Export]] = field(default_factory=dict)

    def functions(self) -> dict[str, Export]:
        """The exported functions that a program linked today would bind to."""
        found = {}
        for name, exports in self.exports.items():
            for export in exports:
                if export.default and export.kind in (STT_FUNC, STT_GNU_IFUNC):
                    found[name] = export
        return found

    def aliases(self) -> dict[tuple[int, str], list[str]]:
        """The names of each function: those that share address and version."""
        groups: dict[tuple[int, str], list[str]] = {}
        for name, export in self.functions().items():
            groups.setdefault((export.address, export.version), []).append(name)
        return groups


def read(path: Path) -> Image | None:
    """Reads a file. `None`: it is no dynamically linked ELF file for x86-64, or it is damaged."""
    try:
        return _Reader(path.read_bytes()).image(path)
    except (struct.error, IndexError, ValueError):
        return None


class _Reader:
    """The parts of a file that several tables are read through."""

    def __init__(self, data: bytes) -> None:
        if data[:6] != b"\x7fELF\x02\x01":
            raise ValueError("not a little-endian ELF64 file")
        self.data = data
        self.type, self.machine = struct.unpack_from("<HH", data, 16)
        phoff, self.shoff = struct.unpack_from("<QQ", data, 32)
        phentsize, phnum, self.shentsize, self.shnum = struct.unpack_from("<HHHH", data, 54)
        headers = [struct.unpack_from("<IIQQQQ", data, phoff + i * phentsize) for i in range(phnum)]
        self.loads = [(vaddr, offset, size) for kind, _, offset, vaddr, _, size in headers if kind == PT_LOAD]
        self.interp = any(header[0] == PT_INTERP for header in headers)
        self.dynamic = self._dynamic([(h[2], h[5]) for h in headers if h[0] == PT_DYNAMIC])
        strings = self.offset(self.one(DT_STRTAB))
        self.strings = data[strings : strings + self.one(DT_STRSZ)]

    def _dynamic(self, segments: list[tuple[int, int]]) -> dict[int, list[int]]:
        values: dict[int, list[int]] = {}
        for offset, size in segments:
            for tag, value in struct.iter_unpack("<qQ", self.data[offset : offset + size // 16 * 16]):
                if tag == 0:
                    break
                values.setdefault(tag, []).append(value)
        return values

    def one(self, tag: int) -> int:
        """The value of a dynamic tag that must be there."""
        return self.dynamic[tag][0] if tag in self.dynamic else self._absent(tag)

    @staticmethod
    def _absent(tag: int) -> int:
        raise ValueError(f"no dynamic entry {tag:#x}")

    def offset(self, address: int) -> int:
        """Where in the file the byte at a virtual address lies."""
        for vaddr, offset, size in self.loads:
            if vaddr <= address < vaddr + size:
                return address - vaddr + offset
        raise ValueError(f"{address:#x} is not in the file")

    def string(self, at: int) -> str:
        """A string of the dynamic string table."""
        return self.strings[at : self.strings.index(b"\0", at)].decode("latin-1")

    def symbol_count(self) -> int:
        """How many dynamic symbols there are, as the section header table says."""
        for index in range(self.shnum):
            header = struct.unpack_from("<IIQQQQIIQQ", self.data, self.shoff + index * self.shentsize)
            if header[1] == SHT_DYNSYM:
                return header[5] // 24
        raise ValueError("no section of dynamic symbols")

    def version_names(self) -> dict[int, str]:
        """The names of the defined versions by index."""
        names: dict[int, str] = {}
        if DT_VERDEF not in self.dynamic:
            return names
        at = self.offset(self.one(DT_VERDEF))
        for _ in range(self.one(DT_VERDEFNUM)):
            _, _, index, _, _, aux, following = struct.unpack_from("<HHHHIII", self.data, at)
            names[index] = self.string(struct.unpack_from("<I", self.data, at + aux)[0])
            at += following
        return names

    def image(self, path: Path) -> Image | None:
        """All that is wanted of the file."""
        if self.machine not in MACHINES or self.type not in (ET_EXEC, ET_DYN):
            return None
        soname = self.string(self.one(DT_SONAME)) if DT_SONAME in self.dynamic else path.name
        pie = bool(self.dynamic.get(DT_FLAGS_1, [0])[0] & DF_1_PIE)
        # libc.so.6 and ld.so can be run, too: they have an interpreter and a soname.
        program = self.interp and (pie or DT_SONAME not in self.dynamic)
        image = Image(path, soname, program)
        image.needed = [self.string(at) for at in self.dynamic.get(DT_NEEDED, [])]
        paths = self.dynamic.get(DT_RPATH, []) + self.dynamic.get(DT_RUNPATH, [])
        image.folders = [folder for at in paths for folder in self.string(at).split(":")]
        self._symbols(image)
        return image

    def _symbols(self, image: Image) -> None:
        count = self.symbol_count()
        start = self.offset(self.one(DT_SYMTAB))
        versions: tuple[int, ...] = (1,) * count
        if DT_VERSYM in self.dynamic:
            versions = struct.unpack_from(f"<{count}H", self.data, self.offset(self.one(DT_VERSYM)))
        names = self.version_names()
        table = struct.iter_unpack("<IBBHQQ", self.data[start : start + count * 24])
        for version, (at, info, other, section, value, _) in zip(versions, table):
            kind, binding = info & 15, info >> 4
            if at == 0 or binding == STB_LOCAL:
                continue
            name = self.string(at)
            if section == 0:
                if kind in CODE:
                    image.imports[name] = binding == STB_WEAK
            elif other & 3 in (STV_DEFAULT, STV_PROTECTED):
                export = Export(kind, value, names.get(version & 0x7FFF, ""), not version & 0x8000)
                image.exports.setdefault(name, []).append(export)
