"""Names of types: clashes, flags, layouts."""

import unittest

from generate import naming
from generate.model import Enum, Model, Param, Record

INT = {"kind": "int", "base": "INT", "names": []}
FLOAT = {"kind": "float", "base": "FLOAT", "names": []}


def record(name: str, *fields: dict, size: int, plain: bool = True) -> Record:
    """A structure with fields `a`, `b` ..."""
    return Record(name, False, size, [Param("abcdef"[at], field) for at, field in enumerate(fields)], plain)


class Definitions(unittest.TestCase):
    """What `types.conf` gets."""

    def setUp(self) -> None:
        self.names = naming.Names({"tm": "struct(int tm_sec)"})

    def test_one_name_for_two_things(self) -> None:
        for source, fields in (("one", [INT]), ("two", [INT, INT]), ("three", [INT])):
            name = self.names.record(Model(source), record("context", *fields, size=4 * len(fields)), [])
            self.assertEqual(name, "context@two" if source == "two" else "context")

    def test_curated_names_are_taken(self) -> None:
        self.assertEqual(self.names.define("tm", "glibc", "struct(int other)"), "tm")
        self.assertEqual(self.names.define("tm", "libx", "struct(int other)"), "tm@libx")

    def test_built_in_names_are_taken(self) -> None:
        self.assertEqual(self.names.define("file", "libx", "struct(int a)"), "file@libx")

    def test_bit_fields_stand_as_their_size(self) -> None:
        odd = record("odd", INT, size=12, plain=False)
        self.assertEqual(self.names.record(Model("libx"), odd, []), "odd")
        self.assertEqual(self.names.definitions["odd"], "struct(array(uint32_t, 3))")

    def test_small_odd_floats_have_no_stand_in(self) -> None:
        with self.assertRaises(naming.Unspeakable):
            self.names.record(Model("libx"), record("odd", FLOAT, size=8, plain=False), [])

    def test_used_types_bring_those_they_need(self) -> None:
        self.names.define("inner", "libx", "enum(A=0)")
        self.names.define("outer", "libx", "struct(inner a)")
        self.names.define("other", "libx", "enum(B=0)")
        self.assertEqual(sorted(self.names.used(["int f(outer* x);"])), ["inner", "outer"])


class Enums(unittest.TestCase):
    """Flags or not."""

    def text(self, name: str, **values: int) -> str:
        """How an enumeration is written."""
        names = naming.Names({})
        return names.definitions[names.enum(Model("libx"), Enum(name, "UINT", list(values.items())))]

    def test_a_sequence_is_no_set(self) -> None:
        self.assertEqual(self.text("kind", A=0, B=1, C=2, D=3, E=4), "enum(A=0, B=1, C=2, D=3, E=4)")

    def test_bits_are_a_set_and_wide_ones_go_first(self) -> None:
        self.assertEqual(self.text("kind", A=1, B=2, D=8, AB=3), "flags(AB=3, A=1, B=2, D=8)")

    def test_a_name_makes_a_set(self) -> None:
        self.assertEqual(self.text("OpenFlags", NONE=0, A=1), "flags(A=1, NONE=0)")

    def test_a_value_has_one_name(self) -> None:
        self.assertEqual(self.text("kind", A=0, B=0, C=1), "enum(A=0, C=1)")


if __name__ == "__main__":
    unittest.main()
