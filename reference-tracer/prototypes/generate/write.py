"""Writes the database: one file for each library, and the types that they share."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from .demand import Demand
from .extract import Package
from .lens import Describer
from .model import Function, Model
from .naming import Names, Unspeakable
from .overlay import Overlay

BY_HAND = "# Written by `python3 -m generate write` from `overlay` alone: the library has no public header.\n"
HEADER = "# Written by `python3 -m generate write` from the headers of Debian's source package {}.\n"
# Embedded text: four megabytes with the types.
BUDGET = 3_400_000


@dataclass
class Library:
    """The lines of one library's file, by function."""

    soname: str
    source: str
    lines: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)  # function, why it has no prototype


def prototype(model: Model, names: Names, overlay: Overlay, function: Function) -> str:
    """A function's line, without its name's aliases."""
    describer = Describer(model, names, function, overlay.said.get(function.symbol, []))
    if function.result["kind"] == "unknown":
        raise Unspeakable(function.result["says"])
    params, packed = [], False
    for index in range(len(function.params)):
        name = describer.name(index)
        shown = describer.param(index)
        lens = overlay.param(model.source, function.symbol, function.params[index].name.strip("_"))
        if lens is not None and shown.direction == "":
            shown.lens = lens
        packed |= shown.lens.endswith(("format", "scanf")) and not shown.lens.startswith("v")
        params.append(shown.text(name))
    if function.variadic and not packed:
        params.append("...")
    result = describer.result()
    tail = attributes(model, overlay, function, result)
    return f"{result} {function.symbol}({', '.join(params)}){tail};"


def attributes(model: Model, overlay: Overlay, function: Function, result: str) -> str:
    """` noreturn` or ` errno(E)`."""
    if function.noreturn:
        return " noreturn"
    if model.source != "glibc" or result == "void" or function.symbol not in overlay.errno:
        return ""
    rule = overlay.errno[function.symbol]
    pointer = function.result["kind"] == "pointer"
    return f" errno({rule})" if pointer or rule != "0" else ""


def library(package: Package, image, model: Model, names: Names, overlay: Overlay) -> Library:
    """The file of one library."""
    made = Library(image.soname, package.source)
    exported = image.functions()
    for symbol, function in model.functions.items():
        if symbol not in exported:
            continue
        try:
            made.lines[symbol] = prototype(model, names, overlay, function)
        except Unspeakable as why:
            made.missing[symbol] = str(why)
    made.lines |= overlay.lines(image.soname)
    add_aliases(made, image)
    return made


def add_aliases(made: Library, image) -> None:
    """Gives a function that no header declares the prototype of its other name."""
    for group in image.aliases().values():
        known = sorted((name for name in group if name in made.lines), key=alias_rank)
        if not known or made.lines[known[0]].startswith("alias "):
            continue
        for name in group:
            if name not in made.lines:
                made.lines[name] = f"alias {name} = {known[0]};"


def alias_rank(name: str) -> tuple[int, int, str]:
    """The plainest name of a function goes first."""
    return (len(name) - len(name.lstrip("_")), len(name), name)


def libraries(packages: dict[str, Package], models: dict[str, Model], names: Names, overlay: Overlay) -> list[Library]:
    """The files of all libraries of which anything is known, those of the C library first: their names win."""
    made: dict[str, Library] = {}
    for source in sorted(models, key=lambda source: (source != "glibc", source)):
        for image in sorted(packages[source].libraries, key=lambda image: (image.soname, str(image.path))):
            found = library(packages[source], image, models[source], names, overlay)
            if found.lines and image.soname not in made:
                made[image.soname] = found
    for soname, lines in overlay.files.items():
        if soname not in made:
            made[soname] = Library(soname, "", dict(lines))
    return list(made.values())


def choose(made: list[Library], demand: Demand, whole: set[str]) -> list[Library]:
    """The libraries to embed: those that programs import from. Of libraries other than `whole`, only the
    functions that somebody imports are kept: few programs use them, or only those that they are part of.
    """
    wanted = {key for key in demand.programs | demand.libraries}
    weights: Counter = Counter()
    for (soname, _), programs in demand.programs.items():
        weights[soname] += programs
    chosen, size = [], 0
    for each in sorted(made, key=lambda each: (-weights[each.soname], each.soname)):
        if weights[each.soname] == 0:
            continue
        if each.soname not in whole and each.source:
            keep(each, wanted)
        if not each.lines:
            continue
        size += sum(len(line.encode()) + 1 for line in each.lines.values())
        if size > BUDGET:
            raise ValueError(f"the budget ends before {each.soname}")
        chosen.append(each)
    return sorted(chosen, key=lambda each: each.soname.encode())


def keep(made: Library, wanted: set[tuple[str, str]]) -> None:
    """Drops the lines that nobody wants; an alias keeps the line that it names."""
    names = {name for name in made.lines if (made.soname, name) in wanted}
    names |= {made.lines[name].split()[3].rstrip(";") for name in names if made.lines[name].startswith("alias ")}
    made.lines = {name: line for name, line in made.lines.items() if name in names}


def write(folder: Path, libraries: list[Library], names: Names) -> None:
    """Writes all files into an empty folder."""
    for made in libraries:
        lines = [made.lines[name] for name in sorted(made.lines, key=str.encode)]
        head = HEADER.format(made.source) if made.source else BY_HAND
        text = head + "".join(f"{line}\n" for line in lines)
        (folder / f"{made.soname}.conf").write_text(text, encoding="utf-8")
    texts = [line for made in libraries for line in made.lines.values()]
    types = names.used(texts)
    lines = [f"typedef {name} = {types[name]};\n" for name in sorted(types, key=str.encode)]
    head = "# The types of the files beside this one, written by `python3 -m generate write`.\n"
    (folder / "types.conf").write_text(head + "".join(lines), encoding="utf-8")
    (folder / "index.rs").write_text(index(libraries), encoding="utf-8")


def index(libraries: list[Library]) -> str:
    """A Rust expression, to be used with `include!`: the files by soname, in byte order."""
    rows = "".join(f'    ("{made.soname}", include_str!("{made.soname}.conf")),\n' for made in libraries)
    return f"// Written by `python3 -m generate write`.\n[\n{rows}]\n"
