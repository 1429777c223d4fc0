"""Declarations as a compiler's debugging information tells them: a second witness beside libclang, and the only
one for the members of C++ templates. The names are those of the DWARF standard."""

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

from elftools.dwarf.compileunit import CompileUnit
from elftools.dwarf.die import DIE
from elftools.elf.elffile import ELFFile

from .model import Type

DW_CC_PASS_BY_REFERENCE = 4
POINTERS = {"DW_TAG_pointer_type", "DW_TAG_reference_type", "DW_TAG_rvalue_reference_type"}
SKIPPED = {"DW_TAG_const_type", "DW_TAG_volatile_type", "DW_TAG_restrict_type", "DW_TAG_atomic_type"}
RECORDS = {"DW_TAG_structure_type", "DW_TAG_class_type", "DW_TAG_union_type"}
# DW_ATE_* and size to libclang's names.
ENCODINGS = {
    (2, 1): ("int", "BOOL"), (6, 1): ("int", "CHAR_S"), (8, 1): ("int", "UCHAR"), (5, 1): ("int", "SCHAR"),
    (5, 2): ("int", "SHORT"), (7, 2): ("int", "USHORT"), (5, 4): ("int", "INT"), (7, 4): ("int", "UINT"),
    (5, 8): ("int", "LONG"), (7, 8): ("int", "ULONG"), (5, 16): ("int", "INT128"), (7, 16): ("int", "UINT128"),
    (16, 1): ("int", "UCHAR"), (16, 2): ("int", "CHAR16"), (16, 4): ("int", "CHAR32"),
    (4, 4): ("float", "FLOAT"), (4, 8): ("float", "DOUBLE"), (4, 16): ("float", "LONGDOUBLE"),
    (3, 8): ("complex", "FLOAT"), (3, 16): ("complex", "DOUBLE"), (3, 32): ("complex", "LONGDOUBLE"),
}


@dataclass
class Subprogram:
    """A function's declaration. `params` has the object of a member function, too."""

    symbol: str
    params: list[Type]
    artificial: list[bool]
    result: Type
    variadic: bool


def compile_unit(source: str, language: str, compiler: str = "cc", flags: list[str] | None = None) -> bytes:
    """Compiles source text with debugging information and returns the object file."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "unit.o")
        command = [compiler, "-x", language, "-g", "-c", "-w", "-o", str(target), *(flags or []), "-"]
        subprocess.run(command, input=source, text=True, check=True)
        return target.read_bytes()


def subprograms(path: Path) -> Iterator[Subprogram]:
    """The functions that an object file's debugging information declares under a name for the linker."""
    with path.open("rb") as file:
        for unit in ELFFile(file).get_dwarf_info().iter_CUs():
            yield from unit_subprograms(unit)


def unit_subprograms(unit: CompileUnit) -> Iterator[Subprogram]:
    """The functions of one unit."""
    for die in unit.iter_DIEs():
        if die.tag != "DW_TAG_subprogram":
            continue
        symbol = text(die, "DW_AT_linkage_name") or text(die, "DW_AT_name")
        if symbol and "DW_AT_external" in die.attributes:
            yield subprogram(die, symbol)


def subprogram(die: DIE, symbol: str) -> Subprogram:
    """One function."""
    children = list(die.iter_children())
    listed = [child for child in children if child.tag == "DW_TAG_formal_parameter"]
    return Subprogram(
        symbol,
        [describe(referred(child)) for child in listed],
        ["DW_AT_artificial" in child.attributes for child in listed],
        describe(referred(die)),
        any(child.tag == "DW_TAG_unspecified_parameters" for child in children),
    )


def text(die: DIE, name: str) -> str:
    """A string attribute, or nothing."""
    found = die.attributes.get(name)
    return found.value.decode("utf-8", "replace") if found else ""


def referred(die: DIE) -> DIE | None:
    """The type of a declaration; none is `void`."""
    return die.get_DIE_from_attribute("DW_AT_type") if "DW_AT_type" in die.attributes else None


def describe(die: DIE | None, names: tuple[str, ...] = ()) -> Type:
    """A type in the model's words. A record's `id` is its name, and `by_reference` tells that C++ passes it so."""
    while die is not None and die.tag in SKIPPED | {"DW_TAG_typedef"}:
        if die.tag == "DW_TAG_typedef":
            names = (*names, text(die, "DW_AT_name"))
        die = referred(die)
    if die is None or die.tag == "DW_TAG_unspecified_type":
        return {"kind": "void"}
    if die.tag in POINTERS:
        to = referred(die)
        const = to is not None and to.tag == "DW_TAG_const_type"
        return {"kind": "pointer", "to": pointee(to), "const": const, "names": list(names)}
    if die.tag == "DW_TAG_base_type":
        key = (die.attributes["DW_AT_encoding"].value, die.attributes["DW_AT_byte_size"].value)
        kind, base = ENCODINGS.get(key, ("unknown", ""))
        name = text(die, "DW_AT_name")
        base = {"long long int": "LONGLONG", "long long unsigned int": "ULONGLONG"}.get(name, base)
        base = "FLOAT128" if name.endswith("_Float128") else base
        names = (*names, "wchar_t") if name == "wchar_t" else names
        return {"kind": kind, "base": base, "names": list(names), "says": name}
    return described_compound(die, names)


def described_compound(die: DIE, names: tuple[str, ...]) -> Type:
    """A type with parts."""
    if die.tag == "DW_TAG_enumeration_type":
        under = describe(referred(die)) if "DW_AT_type" in die.attributes else {"kind": "int", "base": "UINT"}
        return {"kind": "enum", "base": under.get("base", "UINT"), "names": list(names)}
    if die.tag in RECORDS:
        convention = die.attributes.get("DW_AT_calling_convention")
        by_reference = convention is not None and convention.value == DW_CC_PASS_BY_REFERENCE
        size = die.attributes["DW_AT_byte_size"].value if "DW_AT_byte_size" in die.attributes else 0
        return {"kind": "record", "id": text(die, "DW_AT_name"), "by_reference": by_reference, "size": size, "names": list(names)}
    if die.tag == "DW_TAG_subroutine_type":
        return {"kind": "function"}
    if die.tag == "DW_TAG_ptr_to_member_type":
        return {"kind": "unknown", "says": "a pointer to a member"}
    return {"kind": "unknown", "says": die.tag}


def pointee(die: DIE | None) -> Type:
    """What a pointer points at; its own pointers are not followed."""
    names: list[str] = []
    while die is not None and die.tag in SKIPPED | {"DW_TAG_typedef"}:
        if die.tag == "DW_TAG_typedef":
            names.append(text(die, "DW_AT_name"))
        die = referred(die)
    if die is not None and die.tag in POINTERS:
        return {"kind": "pointer", "to": {"kind": "void"}, "const": False, "names": names}
    return describe(die, tuple(names))
