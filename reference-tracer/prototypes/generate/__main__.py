"""The generator's commands; README.md tells in which order they are used."""

import argparse
import sys
from pathlib import Path

from clang import cindex

from . import coverage, crosscheck, debian, demand, extract, flagsets, headers, model, naming, overlay, write

HERE = Path(__file__).parent
LIBRARY = Path("/usr/lib/llvm-14/lib/libclang-14.so.1")


def main() -> int:
    """Runs a command."""
    parser = argparse.ArgumentParser(prog="python3 -m generate", description=__doc__)
    commands = parser.add_subparsers(required=True)
    fetch = commands.add_parser("fetch", help="download packages and unpack them into a new folder")
    fetch.add_argument("packages", type=Path, help="a list of packages: packages-*.txt")
    fetch.add_argument("root", type=Path)
    fetch.set_defaults(run=run_fetch)
    read = commands.add_parser("extract", help="read the headers of a root into a folder of models")
    read.add_argument("root", type=Path)
    read.add_argument("models", type=Path)
    read.add_argument("--library", type=Path, default=LIBRARY)
    read.add_argument("--source", action="append", default=[], help="of this source package only")
    read.set_defaults(run=run_extract)
    count = commands.add_parser("demand", help="count what the programs of a machine import")
    count.add_argument("root", type=Path, help="`/` for this machine")
    count.add_argument("demand", type=Path)
    count.set_defaults(run=run_demand)
    make = commands.add_parser("write", help="write the database from the models")
    make.add_argument("root", type=Path)
    make.add_argument("models", type=Path)
    make.add_argument("demand", type=Path)
    make.add_argument("--folder", type=Path, default=HERE.parent / "db")
    make.add_argument("--library", type=Path, default=LIBRARY)
    make.set_defaults(run=run_write)
    check = commands.add_parser("coverage", help="how much of what programs import has a prototype")
    check.add_argument("demand", type=Path)
    check.add_argument("--folder", type=Path, action="append", help="of files; given, instead of the usual two")
    check.add_argument("--most", type=int, default=40, help="how many libraries to print")
    check.add_argument("--missing", type=int, default=0, help="how many missing functions to print")
    check.set_defaults(run=run_coverage)
    cross = commands.add_parser("crosscheck", help="compare the model of the C library with gcc's DWARF")
    cross.add_argument("root", type=Path)
    cross.add_argument("models", type=Path)
    cross.set_defaults(run=run_crosscheck)
    options = parser.parse_args()
    return int(options.run(options) or 0)


def run_fetch(options: argparse.Namespace) -> None:
    """`fetch`"""
    debian.fetch(options.root, debian.read_names(options.packages))


def run_extract(options: argparse.Namespace) -> None:
    """`extract`"""
    options.models.mkdir(exist_ok=True)
    extract.extract(options.root.resolve(), options.library, options.models, set(options.source))


def run_demand(options: argparse.Namespace) -> None:
    """`demand`"""
    demand.write(options.demand, demand.measure(options.root.resolve()))


def run_write(options: argparse.Namespace) -> None:
    """`write`"""
    models = model.load(options.models)
    cindex.Config.set_library_file(str(options.library))
    facts = overlay.read(HERE.parent / "overlay", options.root)
    names = naming.Names(naming.read_curated(HERE.parent / "types.conf"))
    include = [options.root / "usr/include" / extract.TRIPLET, options.root / "usr/include"]
    include.insert(0, headers.resource_folder(options.library))
    for each in flagsets.read(HERE.parent / "overlay/flagsets.toml"):
        flagsets.define(each, names, [str(folder) for folder in include])
    libraries = write.libraries(extract.read_packages(options.root), models, names, facts)
    chosen = write.choose(libraries, demand.read(options.demand), set(debian.read_names(HERE / "whole.txt")))
    for old in options.folder.glob("*.conf"):
        old.unlink()
    write.write(options.folder, chosen, names)


def run_coverage(options: argparse.Namespace) -> None:
    """`coverage`"""
    folders = options.folder or [HERE.parent, HERE.parent / "db"]
    found = coverage.measure(demand.read(options.demand), coverage.read_names(folders))
    print("library\tpairs\tfunctions\tprototypes\twith mangled names")
    print(found.total())
    for soname, _ in found.all.most_common(options.most):
        print(found.row(soname))
    for (soname, function), programs in found.missing.most_common(options.missing):
        print(f"missing\t{programs}\t{soname}\t{function}")


def run_crosscheck(options: argparse.Namespace) -> int:
    """`crosscheck`"""
    report = crosscheck.check(options.root.resolve(), model.load(options.models)["glibc"])
    print("\n".join(report.differences))
    print(f"{report.compared} functions compared, {len(report.differences)} differences")
    return 1 if report.differences else 0


if __name__ == "__main__":
    sys.exit(main())
