"""From a header to the language: libclang reads what stands here, and the lines are compared."""

import tempfile
import unittest
from pathlib import Path

from clang import cindex

from generate import headers, model, naming, write
from generate.gir import Said
from generate.overlay import Overlay

LIBRARY = Path("/usr/lib/llvm-14/lib/libclang-14.so.1")
if not cindex.Config.loaded:
    cindex.Config.set_library_file(str(LIBRARY))


def read(text: str, source: str = "libx", more: dict[str, str] | None = None) -> model.Model:
    """The model of a package with one header `x.h`, and others by name."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, content in {"x.h": text, **(more or {})}.items():
            Path(folder, name).write_text(content, encoding="utf-8")
            paths.append(str(Path(folder, name)))
        flags = [f"-I{headers.resource_folder(LIBRARY)}", "-I/usr/include/x86_64-linux-gnu", "-I/usr/include"]
        return headers.read(headers.Job(source, paths, paths, flags))


def lines(text: str, source: str = "libx", overlay: Overlay | None = None) -> dict[str, str]:
    """The prototypes that a header gives."""
    found = read(text, source)
    assert not found.errors, found.errors
    names = naming.Names({})
    return {
        symbol: write.prototype(found, names, overlay or Overlay(), function)
        for symbol, function in found.functions.items()
    }


def line(text: str, source: str = "libx", overlay: Overlay | None = None) -> str:
    """The one prototype that a header gives."""
    (only,) = lines(text, source, overlay).values()
    return only


class Scalars(unittest.TestCase):
    """Values that are no pointers."""

    def test_widths_are_right_for_every_machine(self) -> None:
        self.assertEqual(line("int64_t f(long a, uint64_t b, size_t c, long long d);"),
                         "int64_t f(long a, uint64_t b, size_t c, llong d);")

    def test_small_and_floating(self) -> None:
        self.assertEqual(line("float f(unsigned char a, short b, char c, double d, long double e);"),
                         "float f(uint8_t a, short b, char c, double d, long double e);")

    def test_bool_and_fd(self) -> None:
        self.assertEqual(line("_Bool f(int fd, int out_fd, long fd2);"), "_Bool f(fd fd, fd out_fd, long fd2);")

    def test_an_enumeration_is_named(self) -> None:
        self.assertEqual(line("enum color { RED, BLUE = 5 }; enum color f(void);"), "color f();")

    def test_a_structure_by_value(self) -> None:
        self.assertEqual(line("typedef struct { float x, y; } point; point f(point p);"), "point f(point p);")

    def test_an_unspeakable_type_drops_the_function(self) -> None:
        found = read("int f(__float128 x);")
        with self.assertRaises(naming.Unspeakable):
            write.prototype(found, naming.Names({}), Overlay(), found.functions["f"])


class Pointers(unittest.TestCase):
    """What is read, what is filled, and how much."""

    def test_strings_and_buffers(self) -> None:
        self.assertEqual(line("int f(const char *s, const void *p, size_t n);"), "int f(string s, string[n] p, size_t n);")

    def test_two_buffers_of_one_length(self) -> None:
        self.assertEqual(line("int f(const char *a, const char *b, size_t n);"), "int f(string[n] a, string[n] b, size_t n);")

    def test_what_is_read_ends_where_the_result_says(self) -> None:
        self.assertEqual(line("ssize_t f(int fd, void *buf, size_t n);"),
                         "ssize_t f(fd fd, +string[min(retval, n)] buf, size_t n);")

    def test_scalars_are_filled_unless_const(self) -> None:
        self.assertEqual(line("void f(int *a, const int *b, size_t *len);"), "void f(+int* a, int* b, inout size_t* len);")

    def test_objects_stay_pointers(self) -> None:
        self.assertEqual(line("struct s; struct t { int (*f)(void); }; void f(struct s *a, const struct t *b);"),
                         "void f(addr a, addr b);")

    def test_small_public_structures_are_shown(self) -> None:
        text = "struct range { long from, to; }; void f(const struct range *r);"
        self.assertEqual(line(text), "void f(range* r);")
        self.assertEqual(line("struct range { long from, to; }; void f(struct range *r);", "glibc"), "void f(+range* r);")

    def test_functions_and_files(self) -> None:
        self.assertEqual(line("void f(FILE *s, int (*compare)(const void *, const void *));"), "void f(file s, fn compare);")

    def test_access_goes_before_names(self) -> None:
        text = "int f(int count, char *where) __attribute__((__access__(__write_only__, 2, 1)));"
        self.assertEqual(line(text), "int f(int count, +string[zero(count)] where);")

    def test_introspection_goes_before_c(self) -> None:
        said = Overlay(said={"f": [Said("in", array=True, length=1), Said("in"), Said("out")]})
        self.assertEqual(line("void f(double *list, size_t length, int *found);", overlay=said),
                         "void f(array(double, length)* list, size_t length, +int* found);")

    def test_words_of_the_language_are_no_names(self) -> None:
        self.assertEqual(line("int f(const void *p, size_t max);"), "int f(string[arg2] p, size_t);")


class Variadic(unittest.TestCase):
    """Formats."""

    def test_by_attribute(self) -> None:
        text = "int f(int a, const char *what, ...) __attribute__((__format__(__printf__, 2, 3)));"
        self.assertEqual(line(text), "int f(int a, format what);")

    def test_by_name(self) -> None:
        self.assertEqual(line("int my_scan(const char *fmt, ...);"), "int my_scan(scanf fmt);")

    def test_with_a_list(self) -> None:
        self.assertEqual(line("int f(const char *format, va_list ap);"), "int f(vformat format, va_list ap);")

    def test_without_a_format(self) -> None:
        self.assertEqual(line("int f(int command, ...);"), "int f(int command, ...);")


class Units(unittest.TestCase):
    """What of a header is taken."""

    def test_an_error_gives_nothing(self) -> None:
        found = read("int f(unheard_of x);")
        self.assertEqual(list(found.functions), [])
        self.assertEqual(len(found.errors), 1)

    def test_a_header_that_needs_another(self) -> None:
        found = read("typedef int x_int; x_int f(void); x_int h(void);", more={"y.h": "x_int g(x_int a);"})
        self.assertEqual(sorted(found.functions), ["f", "g", "h"])
        self.assertEqual(found.errors, {})

    def test_an_asm_label_is_the_name(self) -> None:
        self.assertEqual(line('int f(int a) __asm__("g");'), "int g(int a);")

    def test_functions_of_others_are_not_taken(self) -> None:
        self.assertEqual(list(read("#include <unistd.h>\nint f(int a);").functions), ["f"])

    def test_no_prototype_is_none(self) -> None:
        self.assertEqual(list(read("int f();").functions), [])

    def test_noreturn(self) -> None:
        self.assertEqual(line("_Noreturn void f(void);"), "void f() noreturn;")
        self.assertEqual(line("void f(void) __attribute__((__noreturn__));"), "void f() noreturn;")
