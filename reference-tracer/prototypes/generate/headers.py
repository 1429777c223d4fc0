"""Reads C headers with libclang, each in a translation unit of its own.

A header that an earlier unit included without an error is not read again, so those that include most go first.
A unit with an error gives nothing: after an unknown type clang goes on with `int`, and the prototype would
be wrong. A header that needs others before it is tried again after the package's other headers.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator

from clang import cindex
from clang.cindex import Cursor, CursorKind, Diagnostic, LinkageKind, TranslationUnit, TypeKind

from .model import Enum, Function, Model, Param, Record, Type

# gcc's attributes that clang drops survive as annotations. `_FORTIFY_SOURCE=2` declares the `__*_chk`
# functions; 3 would take the sizes out of `access`. clang has no `_Float*` types in C, and those that
# stand for them here are passed alike.
FLAGS = [
    "-x", "c", "-std=gnu17", "-target", "x86_64-linux-gnu", "-fgnuc-version=12.2.0", "-fno-builtin", "-nostdinc",
    "-ferror-limit=0", "-Wno-everything", "-Werror=implicit-int", "-Werror=implicit-function-declaration",
    "-O2", "-D__OPTIMIZE__=1", "-D_GNU_SOURCE", "-D_FORTIFY_SOURCE=2",
    '-D__access__(...)=__annotate__("access:" #__VA_ARGS__)',
    '-D__format__(...)=__annotate__("format:" #__VA_ARGS__)',
    '-D__malloc__(...)=__annotate__("malloc")',
    "-D_Noreturn=__attribute__((__annotate__(\"noreturn\")))",
    "-D_Float32=float", "-D_Float64=double", "-D_Float32x=double", "-D_Float64x=long double",
    "-D_Float128=__float128",
]
# What so many headers take for granted that those who include them have it already.
PRELUDE = [
    "stddef.h", "stdint.h", "stdbool.h", "stdarg.h", "sys/types.h", "stdio.h", "stdlib.h", "string.h", "time.h",
    "sys/time.h", "sys/socket.h", "netinet/in.h",
]
VA_LISTS = {"va_list", "__gnuc_va_list", "__builtin_va_list"}
INTS = {
    "BOOL", "CHAR_S", "CHAR_U", "SCHAR", "UCHAR", "SHORT", "USHORT", "INT", "UINT", "LONG", "ULONG", "LONGLONG",
    "ULONGLONG", "INT128", "UINT128", "WCHAR", "CHAR16", "CHAR32",
}
FLOATS = {"FLOAT", "DOUBLE", "LONGDOUBLE", "FLOAT128", "HALF"}


@dataclass
class Job:
    """Headers of one source package, and what it takes to read them."""

    source: str
    headers: list[str]  # to be read
    own: list[str]  # all of the package; what others declare is not taken
    flags: list[str]
    before: list[str] = field(default_factory=list)  # headers that go before each


def read(job: Job) -> Model:
    """Reads the headers of a job."""
    reader = _Reader(job)
    headers = sorted(job.headers, key=lambda header: (-includes(header), header))
    failed = [header for header in headers if not reader.read(header, [])]
    first = reader.richest()
    for header in failed:
        if first and reader.read(header, first):
            reader.model.errors.pop(header, None)
    return reader.model


def includes(header: str) -> int:
    """How many other headers a header names."""
    return len(re.findall(rb"^\s*#\s*include\b", Path(header).read_bytes(), re.MULTILINE))


class _Reader:
    """Reads headers one after the other into one model."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.model = Model(job.source)
        self.index = cindex.Index.create()
        self.own = {os.path.normpath(header) for header in job.own}
        self.seen: set[tuple[str, int, str]] = set()
        self.found: dict[str, int] = {}  # how many functions each good header declares
        self.done: set[str] = set()  # the files of good units

    def richest(self) -> list[str]:
        """The header that brought most: most others hang on it."""
        return [max(self.found, key=lambda header: self.found[header])] if self.found else []

    def read(self, header: str, before: list[str]) -> bool:
        """Reads one header, and says whether it is good."""
        if header in self.done:
            return True
        lines = [f"#include <{name}>\n" for name in PRELUDE]
        lines += [f'#include "{name}"\n' for name in [*self.job.before, *before, header]]
        unit = self.index.parse(
            "unit.c", args=FLAGS + self.job.flags, unsaved_files=[("unit.c", "".join(lines))],
            options=TranslationUnit.PARSE_SKIP_FUNCTION_BODIES,
        )
        errors = [found for found in unit.diagnostics if found.severity >= Diagnostic.Error]
        if errors:
            self.model.errors[header] = f"{errors[0].location.file}:{errors[0].location.line}: {errors[0].spelling}"
            return False
        self.done.update(str(Path(found.include.name)) for found in unit.get_includes())
        known = len(self.model.functions)
        for cursor in declarations(unit.cursor):
            self.declaration(cursor)
        self.found[header] = len(self.model.functions) - known
        return True

    def declaration(self, cursor: Cursor) -> None:
        """Takes a function of the package's own that another object can define."""
        if kind_of(cursor) != CursorKind.FUNCTION_DECL or cursor.linkage != LinkageKind.EXTERNAL:
            return
        place = cursor.location
        if place.file is None or os.path.normpath(place.file.name) not in self.own:
            return
        if (place.file.name, place.line, cursor.spelling) in self.seen:
            return
        self.seen.add((place.file.name, place.line, cursor.spelling))
        if cursor.type.get_canonical().kind != TypeKind.FUNCTIONPROTO:
            return  # `f()` says nothing about its parameters
        self.model.add(self.function(cursor))

    def function(self, cursor: Cursor) -> Function:
        """A function's declaration."""
        attributes, symbol = [], cursor.spelling
        for child in cursor.get_children():
            if kind_of(child) == CursorKind.ANNOTATE_ATTR:
                attributes.append(child.spelling)
            elif kind_of(child) == CursorKind.ASM_LABEL_ATTR:
                symbol = child.spelling
        return Function(
            name=cursor.spelling,
            symbol=symbol,
            result=self.type(cursor.result_type),
            params=[Param(argument.spelling, self.type(argument.type)) for argument in cursor.get_arguments()],
            variadic=cursor.type.get_canonical().is_function_variadic(),
            noreturn="noreturn" in cursor.type.spelling or "noreturn" in attributes,
            attributes=attributes,
            file=cursor.location.file.name,
            line=cursor.location.line,
            inline=cursor.is_definition(),
        )

    def type(self, ctype: cindex.Type, depth: int = 0) -> Type:
        """A type, down to the records that it holds or points at."""
        names, ctype = peel(ctype)
        kind = ctype.kind
        if VA_LISTS & set(names):
            return {"kind": "va_list"}
        if kind == TypeKind.VOID:
            return {"kind": "void"}
        if kind.name in INTS:
            return {"kind": "int", "base": kind.name, "names": names}
        if kind.name in FLOATS:
            return {"kind": "float", "base": kind.name, "names": names}
        if kind == TypeKind.COMPLEX:
            return {"kind": "complex", "base": ctype.element_type.get_canonical().kind.name, "names": names}
        if kind in (TypeKind.FUNCTIONPROTO, TypeKind.FUNCTIONNOPROTO):
            return {"kind": "function"}
        return self.compound(ctype, names, depth)

    def compound(self, ctype: cindex.Type, names: list[str], depth: int) -> Type:
        """A type made of others."""
        kind = ctype.kind
        if kind == TypeKind.POINTER:
            to = ctype.get_pointee()
            pointee = self.type(to, depth + 1)
            return {"kind": "pointer", "to": pointee, "const": is_const(to), "names": names}
        if kind in (TypeKind.CONSTANTARRAY, TypeKind.INCOMPLETEARRAY, TypeKind.VARIABLEARRAY):
            count = ctype.element_count if kind == TypeKind.CONSTANTARRAY else None
            of = self.type(ctype.element_type, depth)
            return {"kind": "array", "of": of, "count": count, "const": is_const(ctype.element_type), "names": names}
        if kind == TypeKind.RECORD:
            return {"kind": "record", "id": self.record(ctype, names, depth), "names": names}
        if kind == TypeKind.ENUM:
            return {"kind": "enum", "id": self.enum(ctype, names), "names": names}
        return {"kind": "unknown", "says": ctype.spelling}

    def record(self, ctype: cindex.Type, names: list[str], depth: int) -> str:
        """Notes a structure or union. Behind a second pointer nobody looks: its fields are left out."""
        cursor = ctype.get_declaration()
        key = cursor.get_usr()
        known = self.model.records.get(key)
        if known is not None and (known.fields is not None or depth > 1):
            return key
        definition = cursor.get_definition()
        union = kind_of(cursor) == CursorKind.UNION_DECL
        record = Record(tag_name(cursor, names), union, max(ctype.get_size(), 0), None)
        self.model.records[key] = record
        if definition is not None and depth <= 1:
            record.fields = []
            for member in ctype.get_fields():
                record.plain &= not member.is_bitfield() and bool(member.spelling)
                record.fields.append(Param(member.spelling, self.type(member.type, depth + 1)))
            record.plain &= not any(kind_of(child) == CursorKind.PACKED_ATTR for child in definition.get_children())
        return key

    def enum(self, ctype: cindex.Type, names: list[str]) -> str:
        """Notes an enumeration."""
        cursor = ctype.get_declaration()
        key = cursor.get_usr()
        if key not in self.model.enums:
            constants = [c for c in cursor.get_children() if kind_of(c) == CursorKind.ENUM_CONSTANT_DECL]
            values = [(constant.spelling, constant.enum_value) for constant in constants]
            base = cursor.enum_type.get_canonical().kind.name if constants else "UINT"
            self.model.enums[key] = Enum(tag_name(cursor, names), base, values)
        return key


def kind_of(cursor: Cursor) -> CursorKind | None:
    """A cursor's kind. `None`: one that the Python bindings do not know, such as of a new attribute."""
    try:
        return cursor.kind
    except ValueError:
        return None


def declarations(unit: Cursor) -> Iterator[Cursor]:
    """The declarations of a unit, those within `extern "C"` too."""
    waiting = list(unit.get_children())[::-1]
    while waiting:
        cursor = waiting.pop()
        if kind_of(cursor) in (CursorKind.LINKAGE_SPEC, CursorKind.UNEXPOSED_DECL):
            waiting.extend(list(cursor.get_children())[::-1])
        yield cursor


def peel(ctype: cindex.Type) -> tuple[list[str], cindex.Type]:
    """A type without its typedefs, and their names, outermost first."""
    names = []
    while True:
        if ctype.kind == TypeKind.TYPEDEF:
            names.append(ctype.get_declaration().spelling)
            ctype = ctype.get_declaration().underlying_typedef_type
        elif ctype.kind == TypeKind.ELABORATED:
            ctype = ctype.get_named_type()
        elif ctype.kind == TypeKind.UNEXPOSED and ctype.get_canonical().kind != TypeKind.UNEXPOSED:
            ctype = ctype.get_canonical()
        else:
            return names, ctype


def is_const(ctype: cindex.Type) -> bool:
    """Whether what a pointer points at, or an array holds, is not to be changed through it."""
    return ctype.get_canonical().is_const_qualified()


def tag_name(cursor: Cursor, names: list[str]) -> str:
    """A record's or enumeration's tag, or the typedef that names it; empty if it has neither."""
    tag = cursor.spelling
    if not tag or not re.fullmatch(r"\w+", tag):
        tag = names[-1] if names else ""
    return tag


def resource_folder(library: Path) -> Path:
    """Where clang's own headers (stddef.h, stdarg.h) lie for a libclang in `/usr/lib/llvm-N/lib`."""
    found = sorted((library.parent / "clang").glob("*/include"))
    if not found:
        raise FileNotFoundError(f"no clang headers beside {library}: install libclang-common-N-dev")
    return found[-1]
