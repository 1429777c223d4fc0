"""What the headers say, as plain data: between libclang, which reads them, and the language, which is written.

A type is a dictionary, so that the model can be kept as JSON and looked at:

* `{"kind": "void" | "va_list" | "function"}`
* `{"kind": "int", "base": "INT", "names": [...]}`, `base` being libclang's name of the canonical type and
  `names` the typedefs that lead to it, outermost first; floating point alike with `"kind": "float"`, and
  `"kind": "complex"`, `base` being what its parts are
* `{"kind": "pointer", "to": TYPE, "const": bool, "names": [...]}`, `const` being the pointee's
* `{"kind": "array", "of": TYPE, "count": N or None, "names": [...]}`
* `{"kind": "record" | "enum", "id": USR, "names": [...]}`, an entry of `Model.records` or `Model.enums`
* `{"kind": "unknown", "says": SPELLING}`: what the language has no word for
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Type = dict[str, Any]


@dataclass
class Param:
    """A parameter; `name` is empty where the declaration gives none."""

    name: str
    type: Type


@dataclass
class Function:
    """A declared function. `symbol` differs from `name` where an asm label renames it."""

    name: str
    symbol: str
    result: Type
    params: list[Param]
    variadic: bool
    noreturn: bool
    attributes: list[str]
    file: str
    line: int
    inline: bool = False

    def named(self) -> bool:
        """Whether every parameter has a name."""
        return all(param.name for param in self.params)


@dataclass
class Record:
    """A structure or union. `fields` is `None` where the headers keep them to themselves."""

    name: str
    union: bool
    size: int
    fields: list[Param] | None
    plain: bool = True  # no bit-fields, no packing: what the language can lay out


@dataclass
class Enum:
    """An enumeration's constants in the order of their declaration."""

    name: str
    base: str
    values: list[tuple[str, int]]


@dataclass
class Model:
    """All that the headers of one source package declare."""

    source: str
    functions: dict[str, Function] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    enums: dict[str, Enum] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)  # header, why nothing of it was taken

    def add(self, function: Function) -> None:
        """Adds a declaration of a function, or what it says beyond those already here."""
        known = self.functions.get(function.symbol)
        if known is None:
            self.functions[function.symbol] = function
            return
        better, other = (function, known) if rank(function) > rank(known) else (known, function)
        if len(better.params) == len(other.params):
            better.attributes += [a for a in other.attributes if a not in better.attributes]
        better.noreturn |= other.noreturn
        self.functions[function.symbol] = better

    def merge(self, other: "Model") -> None:
        """Adds all of another model of the same package."""
        for function in other.functions.values():
            self.add(function)
        for key, record in other.records.items():
            if key not in self.records or self.records[key].fields is None:
                self.records[key] = record
        self.enums.update(other.enums)
        self.errors.update(other.errors)


def rank(function: Function) -> tuple[bool, bool, bool]:
    """How good a declaration is: under its own name, with the parameters' names, not a FORTIFY wrapper."""
    return (function.name == function.symbol, function.named(), not function.inline)


def save(folder: Path, model: Model) -> None:
    """Keeps a model as a JSON file of its own."""
    (folder / f"{model.source}.json").write_text(json.dumps(asdict(model)), encoding="utf-8")


def load(folder: Path) -> dict[str, Model]:
    """Reads back what `save` wrote, by source package."""
    models = (_model(json.loads(path.read_text(encoding="utf-8"))) for path in sorted(folder.glob("*.json")))
    return {model.source: model for model in models}


def _model(raw: dict[str, Any]) -> Model:
    functions = {key: _with_params(Function, "params", value) for key, value in raw["functions"].items()}
    records = {key: _with_params(Record, "fields", value) for key, value in raw["records"].items()}
    enums = {key: _enum(value) for key, value in raw["enums"].items()}
    return Model(raw["source"], functions, records, enums, raw["errors"])


def _with_params(kind: type, key: str, raw: dict[str, Any]) -> Any:
    params = raw.pop(key)
    made = None if params is None else [Param(**param) for param in params]
    return kind(**raw, **{key: made})


def _enum(raw: dict[str, Any]) -> Enum:
    return Enum(raw["name"], raw["base"], [(name, value) for name, value in raw["values"]])
