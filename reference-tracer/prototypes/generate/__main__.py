"""The generator's commands; README.md tells in which order they are used."""

import argparse
import sys
from pathlib import Path

from clang import cindex

from . import debian, demand, extract, model, naming, overlay, write

HERE = Path(__file__).parent


def main() -> int:
    """Runs a command."""
    parser = argparse.ArgumentParser(prog="python3 -m generate", description=__doc__)
    commands = parser.add_subparsers(required=True)
    fetch = commands.add_parser("fetch", help="download packages and unpack them into a new folder")
    fetch.add_argument("packages", type=Path, help="a list of packages: packages-*.txt")
    fetch.add_argument("root", type=Path)
    fetch.set_defaults(run=run_fetch)
    read = commands.add_parser("extract", help="read the headers of a root into a model")
    read.add_argument("root", type=Path)
    read.add_argument("model", type=Path)
    read.add_argument("--library", type=Path, default=Path("/usr/lib/llvm-14/lib/libclang-14.so.1"))
    read.add_argument("--source", action="append", default=[], help="of this source package only")
    read.set_defaults(run=run_extract)
    count = commands.add_parser("demand", help="count what the programs of a machine import")
    count.add_argument("root", type=Path, help="`/` for this machine")
    count.add_argument("demand", type=Path)
    count.set_defaults(run=run_demand)
    make = commands.add_parser("write", help="write the database from a model")
    make.add_argument("root", type=Path)
    make.add_argument("model", type=Path)
    make.add_argument("demand", type=Path)
    make.add_argument("--folder", type=Path, default=HERE.parent / "db")
    make.set_defaults(run=run_write)
    options = parser.parse_args()
    return options.run(options) or 0


def run_fetch(options: argparse.Namespace) -> None:
    """`fetch`"""
    debian.fetch(options.root, debian.read_names(options.packages))


def run_extract(options: argparse.Namespace) -> None:
    """`extract`"""
    models = extract.read_models(options.root.resolve(), options.library, set(options.source))
    model.save(options.model, models)
    for each in models:
        print(f"{each.source}: {len(each.functions)} functions, {len(each.errors)} headers with errors")


def run_demand(options: argparse.Namespace) -> None:
    """`demand`"""
    demand.write(options.demand, demand.measure(options.root.resolve()))


def run_write(options: argparse.Namespace) -> None:
    """`write`"""
    models = {each.source: each for each in model.load(options.model)}
    facts = overlay.read(HERE.parent / "overlay", options.root / "usr/share/man")
    names = naming.Names(naming.read_curated(HERE.parent / "types.conf"))
    libraries = write.libraries(extract.read_packages(options.root), models, names, facts)
    chosen = write.choose(libraries, demand.read(options.demand))
    for old in options.folder.glob("*.conf"):
        old.unlink()
    write.write(options.folder, chosen, names)


if __name__ == "__main__":
    sys.exit(main())
