"""What GObject introspection files say of parameters: which way they go, and what their arrays' lengths are.

The libraries' authors wrote these facts into their comments; g-ir-scanner(1) made XML of them
(https://gi.readthedocs.io, "GIR XML format").
"""

import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

CORE = "{http://www.gtk.org/introspection/core/1.0}"
C = "{http://www.gtk.org/introspection/c/1.0}"
FUNCTIONS = {f"{CORE}{tag}" for tag in ("function", "method", "constructor")}


@dataclass(frozen=True)
class Said:
    """What is said of a parameter."""

    direction: str  # "in", "out" or "inout"
    text: bool = False  # a string, or an array of strings
    array: bool = False
    zero: bool = False  # the array ends with a zero
    length: int | None = None  # the parameter that holds the array's length
    fixed: int | None = None


def read(folder: Path) -> dict[str, list[Said]]:
    """All functions that the files of a folder annotate, and what is said of each parameter in turn."""
    found: dict[str, list[Said]] = {}
    for path in sorted(folder.glob("*.gir")):
        for element in elements(path):
            symbol = element.get(f"{C}identifier")
            if element.tag in FUNCTIONS and symbol:
                found.setdefault(symbol, params(element))
    return found


def elements(path: Path) -> Iterator[ElementTree.Element]:
    """All elements of a file; of one that is no XML (there are some), none, which is said."""
    try:
        yield from ElementTree.parse(path).iter()
    except ElementTree.ParseError as error:
        print(f"{path}: {error}", file=sys.stderr)


def params(function: ElementTree.Element) -> list[Said]:
    """The parameters of a function; that of a method which is the object is counted, too."""
    listed = function.find(f"{CORE}parameters")
    if listed is None:
        return []
    objects = listed.findall(f"{CORE}instance-parameter")
    said = [Said("in") for _ in objects]
    for parameter in listed.findall(f"{CORE}parameter"):
        said.append(param(parameter, len(objects)))
    return said


def param(parameter: ElementTree.Element, before: int) -> Said:
    """One parameter; the indices of lengths do not count the `before` objects."""
    direction = parameter.get("direction", "in")
    array = parameter.find(f"{CORE}array")
    if array is None:
        kind = parameter.find(f"{CORE}type")
        return Said(direction, text=kind is not None and kind.get("name") in ("utf8", "filename"))
    element = array.find(f"{CORE}type")
    length, fixed = array.get("length"), array.get("fixed-size")
    return Said(
        direction,
        text=element is not None and element.get("name") in ("utf8", "filename"),
        array=True,
        zero=array.get("zero-terminated", "0" if length or fixed else "1") == "1",
        length=int(length) + before if length is not None else None,
        fixed=int(fixed) if fixed is not None else None,
    )
