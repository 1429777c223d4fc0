"""ELF files, demand, coverage, introspection data and manual pages."""

import subprocess
import tempfile
import unittest
from collections import Counter
from pathlib import Path

from generate import coverage, debian, demand, elf, gir, overlay

LIBRARY = "int one(void) { return 1; }\nextern int two(void) __attribute__((alias(\"one\")));\nint data = 3;\n"
PROGRAM = "int one(void); extern int data;\nint main(void) { return one() + data; }\n"


def build(folder: Path) -> Path:
    """A program and the library that it needs, as they would lie below a root."""
    (folder / "usr/bin").mkdir(parents=True)
    (folder / "usr/lib").mkdir()
    library, program = folder / "usr/lib/libone.so.1", folder / "usr/bin/program"
    flags = ["-x", "c", "-", "-shared", "-fPIC", "-Wl,-soname,libone.so.1", "-o", str(library)]
    subprocess.run(["cc", *flags], input=LIBRARY, text=True, check=True)
    flags = ["-x", "c", "-", "-x", "none", str(library), "-o", str(program)]
    subprocess.run(["cc", *flags], input=PROGRAM, text=True, check=True)
    return program


class Files(unittest.TestCase):
    """A program and its library."""

    def test_who_imports_what(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            build(Path(folder))
            found = demand.measure(Path(folder))
        self.assertEqual(found.program_count, 1)
        self.assertEqual(found.programs, Counter({("libone.so.1", "one"): 1}))

    def test_aliases_share_an_address(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            build(Path(folder))
            image = elf.read(Path(folder, "usr/lib/libone.so.1"))
        assert image is not None
        self.assertIn(["one", "two"], [sorted(group) for group in image.aliases().values()])
        self.assertNotIn("data", image.functions())

    def test_damaged_files_are_none(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            whole = build(Path(folder)).read_bytes()
            for size in [0, 3, 16, 63, 64, 200, len(whole) // 2]:
                path = Path(folder, "cut")
                path.write_bytes(whole[:size])
                self.assertIsNone(elf.read(path), size)

    def test_a_table_is_read_as_it_was_written(self) -> None:
        before = demand.Demand(Counter({("a", "f"): 2}), Counter({("a", "f"): 1, ("b", "g"): 5}), 7)
        with tempfile.TemporaryDirectory() as folder:
            demand.write(Path(folder, "d.tsv"), before)
            after = demand.read(Path(folder, "d.tsv"))
        self.assertEqual((after.program_count, +after.programs, after.libraries), (7, before.programs, before.libraries))


class Coverage(unittest.TestCase):
    """The share that has a prototype."""

    def test_weights(self) -> None:
        wanted = demand.Demand(Counter({("a", "f"): 6, ("a", "g"): 2, ("c", "_Z1fv"): 2}))
        found = coverage.measure(wanted, {"a": {"f"}, "b": {"g"}})
        self.assertEqual(found.share("a"), 0.75)
        self.assertEqual(found.share(), 0.8)
        self.assertEqual(found.share(mangled=False), 0.6)
        self.assertEqual(found.missing, Counter({("a", "g"): 2}))


class Words(unittest.TestCase):
    """What is written for people."""

    def test_the_manual(self) -> None:
        self.assertEqual(overlay.errno_rule("On error, -1 is returned, and errno is set"), "-1")
        self.assertEqual(overlay.errno_rule("returns NULL and errno is set"), "0")
        self.assertIsNone(overlay.errno_rule("returns -1"))
        self.assertIsNone(overlay.errno_rule("On error, an error number is returned, and errno is -1"))

    def test_lines(self) -> None:
        self.assertEqual(overlay.line_name("int f(int a);"), "f")
        self.assertEqual(overlay.line_name("alias g = f;"), "g")

    def test_introspection(self) -> None:
        text = """<repository xmlns="http://www.gtk.org/introspection/core/1.0" xmlns:c="http://www.gtk.org/introspection/c/1.0">
          <method c:identifier="x_f"><parameters><instance-parameter/>
            <parameter><array length="1"><type name="gdouble"/></array></parameter><parameter><type name="gsize"/></parameter>
            <parameter direction="out"><type name="utf8"/></parameter></parameters></method></repository>"""
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "X.gir").write_text(text, encoding="utf-8")
            said = gir.read(Path(folder))["x_f"]
        self.assertEqual(said, [gir.Said("in"), gir.Said("in", array=True, length=2), gir.Said("in"), gir.Said("out", text=True)])

    def test_merged_folders(self) -> None:
        self.assertEqual(debian.canonical("./lib/x/y.so"), "/usr/lib/x/y.so")
        self.assertEqual(debian.canonical("./usr/include/x.h"), "/usr/include/x.h")


if __name__ == "__main__":
    unittest.main()
