"""The generator's commands; README.md tells in which order they are used."""

import argparse
import sys
from pathlib import Path

from clang import cindex

from . import debian, extract, model

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


if __name__ == "__main__":
    sys.exit(main())
