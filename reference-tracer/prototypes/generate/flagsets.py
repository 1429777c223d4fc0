"""Sets of macros: their values are asked of the headers, and become types as enumerations do."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from clang import cindex
from clang.cindex import CursorKind, Diagnostic, TranslationUnit

from .headers import FLAGS
from .model import Enum, Model
from .naming import Names


@dataclass
class FlagSet:
    """A set of constants and where it is used."""

    name: str
    kind: str  # "flags", "enum", or empty for a curated type
    headers: list[str]
    match: str
    skip: str
    params: list[tuple[str, str]]


def read(path: Path) -> list[FlagSet]:
    """The sets of a file."""
    sets = []
    for name, row in tomllib.loads(path.read_text(encoding="utf-8")).items():
        params = [tuple(param.split(".")) for param in row["params"]]
        sets.append(FlagSet(name, row.get("kind", ""), row.get("headers", []), row.get("match", ""), row.get("skip", ""), params))
    return sets


def values(wanted: FlagSet, include: list[str]) -> dict[str, int]:
    """The macros and enumerators of a set and their values, as the headers in the `include` folders have them."""
    index = cindex.Index.create()
    lines = "".join(f"#include <{header}>\n" for header in wanted.headers)
    flags = [*FLAGS, *(f"-I{folder}" for folder in include)]
    unit = parse(index, lines, flags, TranslationUnit.PARSE_DETAILED_PROCESSING_RECORD)
    names = {cursor.spelling for cursor in unit.cursor.get_children() if cursor.kind == CursorKind.MACRO_DEFINITION}
    for cursor in unit.cursor.get_children():
        if cursor.kind == CursorKind.ENUM_DECL:
            names |= {child.spelling for child in cursor.get_children() if child.kind == CursorKind.ENUM_CONSTANT_DECL}
    names = {name for name in names if re.fullmatch(wanted.match, name) and not re.fullmatch(wanted.skip or "-", name)}
    asked = "".join(f"  value_of_{name} = (long long) ({name}),\n" for name in sorted(names))
    unit = parse(index, f"{lines}enum asked {{\n{asked}}};\n", flags, 0)
    found: dict[str, int] = {}
    for cursor in unit.cursor.get_children():
        if cursor.kind == CursorKind.ENUM_DECL and cursor.spelling == "asked":
            found = {child.spelling.removeprefix("value_of_"): child.enum_value for child in cursor.get_children()}
    if not found:
        raise ValueError(f"{wanted.name}: no macro matches {wanted.match!r}")
    return found


def parse(index: cindex.Index, text: str, flags: list[str], options: int) -> TranslationUnit:
    """Parses a text that must have no error."""
    unit = index.parse("sets.c", args=flags, unsaved_files=[("sets.c", text)], options=options | TranslationUnit.PARSE_SKIP_FUNCTION_BODIES)
    errors = [found for found in unit.diagnostics if found.severity >= Diagnostic.Error]
    if errors:
        raise ValueError(f"{errors[0].location.line}: {errors[0].spelling}")
    return unit


def define(wanted: FlagSet, names: Names, include: list[str]) -> None:
    """Defines the type of a set; a curated one is there already."""
    if not wanted.kind:
        if wanted.name not in names.curated:
            raise ValueError(f"{wanted.name} is no type of types.conf and has no `kind`")
        return
    found = sorted(values(wanted, include).items(), key=lambda item: (item[1], item[0]))
    if wanted.kind == "enum":
        base = "UINT" if found[-1][1] >= 1 << 31 else "INT"
        names.enum(Model("glibc"), Enum(wanted.name, base, found), bits=False)
    else:
        names.enum(Model("glibc"), Enum(wanted.name, "INT", [(name, value & 0xFFFFFFFF) for name, value in found]), bits=True)
