"""The types that the database names: each structure, union and enumeration becomes a typedef of `types.conf`.

Two packages may use one name for two things; the later one gets its package's name behind an `@`. The
curated `types.conf` beside the database has its own names, which are taken.
"""

import re
from pathlib import Path

from . import words
from .model import Enum, Model, Param, Record, Type

BUILT_IN = {
    "void", "char", "short", "ushort", "int", "uint", "long", "ulong", "llong", "ullong", "float", "double", "schar",
    "uchar", "wchar_t", "addr", "file", "fn", "fd", "errnum", "va_list", "format", "scanf", "vformat", "vscanf",
    "wformat", "wscanf", "vwformat", "vwscanf", "string", "wstring", "octal", "struct", "union", "array", "enum",
    "flags", "mask", "complex", "bin", "oct", "hex", "bool", "bitvec", "hide", "typedef", "import", "alias", "function",
    "signed", "unsigned", "if", "inout", "zero", "min", "max", "_Complex",
    *(word for word in words.FIXED.values() if word != "gboolean"),
}
COMMON = {
    "gboolean": "bool(int)", "float_complex": "complex(float)",
    "double_complex": "complex(double)", "ldouble_complex": "complex(long double)",
}
FLAGS_NAME = re.compile(r"(Flags?|Mask|Options|Set)(_t)?$|_(flags?|mask)(_t)?$")
MOST_LEAVES, MOST_BYTES = 16, 192
MOST_LEAVES_OF_OBJECTS = 8


class Unspeakable(Exception):
    """The language has no word for a type, and a guess would misplace what comes after it."""


class Names:
    """The typedefs of the database."""

    def __init__(self, curated: dict[str, str]) -> None:
        self.curated = curated
        self.definitions = dict(COMMON)

    def value(self, model: Model, kind: Type) -> str:
        """The lens of a value, as a result, a field or what a pointer points at."""
        what = kind["kind"]
        if what == "int":
            known = [words.FIXED[name] for name in kind["names"] if name in words.FIXED]
            return known[0] if known else words.BASES[kind["base"]]
        if what == "float" and kind["base"] in words.BASES:
            return words.BASES[kind["base"]]
        if what == "complex" and kind["base"] in words.COMPLEX:
            return words.COMPLEX[kind["base"]]
        if what == "enum":
            return self.enum(model, model.enums[kind["id"]])
        if what == "record":
            return self.record(model, model.records[kind["id"]], kind["names"])
        if what in ("pointer", "array"):
            return self.pointer(model, kind)
        if what in ("void", "va_list"):
            return what
        raise Unspeakable(f"{what} {kind.get('base', kind.get('says', ''))}")

    def pointer(self, model: Model, kind: Type) -> str:
        """The lens of a pointer or an array within a structure."""
        if kind["kind"] == "pointer":
            to = kind["to"]
            if to["kind"] == "function":
                return "fn"
            text = to["kind"] == "int" and to["base"] == "CHAR_S" and to["names"] in ([], ["gchar"])
            return "string" if text else "addr"
        of, count = kind["of"], kind["count"] or 0
        if of["kind"] == "int" and of["base"] == "CHAR_S":
            return f"string(array(char, zero({count})))"
        return f"array({self.value(model, of)}, {count})"

    def record(self, model: Model, record: Record, typedefs: list[str]) -> str:
        """The name of a structure or union that is passed or held by value."""
        if record.fields is None or record.size == 0:
            raise Unspeakable(f"struct {record.name}")
        text = self.members(model, record) if speakable(model, record) else stand_in(model, record)
        return self.define(record.name or (typedefs[-1] if typedefs else ""), model.source, text)

    def members(self, model: Model, record: Record) -> str:
        """`struct(...)` or `union(...)`."""
        fields = [f"{self.value(model, field.type)} {words.name_of(field.name)}".rstrip() for field in record.fields or []]
        return f"{'union' if record.union else 'struct'}({', '.join(unlike(fields))})"

    def small_record(self, model: Model, kind: Type, data: bool) -> str | None:
        """The name of a structure worth looking into through a pointer. `data`: it is no library's object."""
        record = model.records[kind["id"]]
        if record.union or not record.fields or record.size > MOST_BYTES or not speakable(model, record):
            return None
        leaves = count_leaves(model, record)
        hidden = all(field.name.startswith("_") for field in record.fields)
        if hidden or leaves > (MOST_LEAVES if data else MOST_LEAVES_OF_OBJECTS):
            return None
        if not data and any(is_object(field) for field in record.fields):
            return None
        try:
            return self.record(model, record, kind["names"])
        except Unspeakable:
            return None

    def enum(self, model: Model, enum: Enum, bits: bool | None = None) -> str:
        """The name of an enumeration, shown as flags where its values are bits, or as `bits` tells."""
        values = distinct(enum, bits is None)
        if not values:
            return words.BASES.get(enum.base, "uint")
        base = "[uint]" if enum.base == "UINT" and max(values) >= 1 << 31 else ""
        if enum.base not in ("INT", "UINT"):
            base = f"[{words.BASES[enum.base]}]"
        bits = are_bits(values, enum.name) if bits is None else bits
        order = sorted(values, key=lambda value: (-value.bit_count(), value)) if bits else sorted(values)
        listed = ", ".join(f"{values[value]}={number(value, bits)}" for value in order)
        return self.define(enum.name or common_prefix(list(values.values())), model.source,
                           f"{'flags' if bits else 'enum'}{base}({listed})")

    def define(self, name: str, source: str, text: str) -> str:
        """Defines a name, or finds the one that says the same."""
        if source == "glibc" and name in self.curated:
            return name
        name, source = name or "anonymous", re.sub(r"[^\w.]", "_", source)
        choices = [name, f"{name}@{source}", *(f"{name}@{source}.{n}" for n in range(2, 1000))]
        for choice in choices:
            if choice in BUILT_IN or choice in self.curated:
                continue
            if self.definitions.setdefault(choice, text) == text:
                return choice
        raise Unspeakable(f"a thousand types called {name}")

    def used(self, texts: list[str]) -> dict[str, str]:
        """The definitions that these lines need, and those that they need in turn."""
        found: dict[str, str] = {}
        waiting = list(texts)
        while waiting:
            for word in set(re.findall(r"[A-Za-z_.$@][\w.$@]*", waiting.pop())):
                if word in self.definitions and word not in found:
                    found[word] = self.definitions[word]
                    waiting.append(self.definitions[word])
        return found


def read_curated(path: Path) -> dict[str, str]:
    """The typedefs of a `types.conf`."""
    typedefs = re.findall(r"^typedef ([\w.$@]+) = (.*);$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return dict(typedefs)


def speakable(model: Model, record: Record) -> bool:
    """Whether the language lays a record out as C does."""
    if record.fields is None or not record.plain or record.size == 0:
        return False
    for field in record.fields:
        kind = field.type
        while kind["kind"] == "array":
            if not kind["count"]:
                return False
            kind = kind["of"]
        if kind["kind"] in ("unknown", "va_list", "function", "void"):
            return False
        if kind["kind"] == "float" and kind["base"] not in words.BASES:
            return False
        if kind["kind"] == "record" and not speakable(model, model.records[kind["id"]]):
            return False
    return True


def stand_in(model: Model, record: Record) -> str:
    """A structure of the same size and class as one with bit-fields or unnamed members (psABI, "Classification").

    One of up to 16 bytes that may hold floating point, whose class depends on what lies where, has none.
    """
    if record.size <= 16 and holds_floats(model, record):
        raise Unspeakable(f"struct {record.name}")
    for size, word in ((8, "uint64_t"), (4, "uint32_t"), (2, "uint16_t"), (1, "uint8_t")):
        if record.size % size == 0:
            return f"struct(array({word}, {record.size // size}))"
    raise AssertionError("every size is a multiple of 1")


def holds_floats(model: Model, record: Record) -> bool:
    """Whether a record holds floating point, or what nobody knows."""
    for field in record.fields or []:
        kind = field.type
        while kind["kind"] == "array":
            kind = kind["of"]
        if kind["kind"] in ("float", "complex", "unknown"):
            return True
        if kind["kind"] == "record" and holds_floats(model, model.records[kind["id"]]):
            return True
    return False


def count_leaves(model: Model, record: Record) -> int:
    """How many values a record shows."""
    count = 0
    for field in record.fields or []:
        kind, times = field.type, 1
        while kind["kind"] == "array":
            times, kind = times * (kind["count"] or 1), kind["of"]
        if kind["kind"] == "record":
            times *= count_leaves(model, model.records[kind["id"]])
        elif kind["kind"] == "int" and kind["base"] == "CHAR_S":
            times = 1
        count += times
    return count


def is_object(field: Param) -> bool:
    """Whether a field tells that its structure is a library's object rather than data."""
    kind = field.type
    if kind["kind"] == "pointer" and kind["to"]["kind"] == "function":
        return True
    return kind["kind"] == "record" or "private" in field.name or "reserved" in field.name or field.name.startswith("_")


def distinct(enum: Enum, guess: bool) -> dict[int, str]:
    """The first name of each value. In what may be a set of flags, masks are left out, and bit 31 is no sign."""
    flags = guess and bool(FLAGS_NAME.search(enum.name))
    values: dict[int, str] = {}
    for name, value in enum.values:
        if flags and name.upper().endswith(("_MASK", "_ALL")):
            continue
        values.setdefault(value & 0xFFFFFFFF if flags and value == -(1 << 31) else value, name)
    return values


def are_bits(values: dict[int, str], name: str) -> bool:
    """Whether an enumeration's values are to be combined: bits, and what is made of them; three of them, or it
    says so in its name."""
    singles = {value for value in values if value > 0 and value.bit_count() == 1}
    every = sum(singles)
    if not singles or not all(value >= 0 and value & ~every == 0 for value in values):
        return False
    sequence = sorted(values) == list(range(min(values), min(values) + len(values)))
    return bool(FLAGS_NAME.search(name)) or len(singles) >= 3 and not sequence


def number(value: int, bits: bool) -> str:
    """A value as it is written."""
    return hex(value) if bits and value > 9 else str(value)


def unlike(fields: list[str]) -> list[str]:
    """Fields whose names are not another's; a later one loses its name."""
    seen: set[str] = set()
    kept = []
    for field in fields:
        lens, space, name = field.rpartition(" ")
        if space and lens.count("(") == lens.count(")") and name in seen:
            field = lens
        seen.add(name)
        kept.append(field)
    return kept


def common_prefix(names: list[str]) -> str:
    """A name for an enumeration that has none."""
    prefix = names[0]
    for name in names[1:]:
        while not name.startswith(prefix):
            prefix = prefix[:-1]
    prefix = prefix.rstrip("_")
    return prefix if len(prefix) > 2 and prefix not in names else names[0].lower()
