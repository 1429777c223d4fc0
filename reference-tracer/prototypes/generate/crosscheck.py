"""Checks the C library's part of the models against gcc: parameter counts, variadic functions, kinds of parameters.

gcc reads all headers in one unit that takes the address of every function, and its debugging information tells
what the functions are. Two compilers that agree have read the headers right.
"""

import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from . import dwarf
from .extract import TRIPLET
from .model import Function, Model, Type

# Headers that can't stand beside others, or declare nothing.
APART = re.compile(r"/(regexp|netipx|netrom|scsi|sys/elf|sys/vm86|thread_db|proc_service|a\.out|nfs/|protocols/|rpc/|finclude/|gnu/)")


@dataclass
class Report:
    """What both say of the functions that both know."""

    compared: int = 0
    differences: list[str] = field(default_factory=list)


def check(root: Path, model: Model) -> Report:
    """Compares a model of glibc with what gcc says."""
    report = Report()
    names = sorted({each.name for each in model.functions.values() if not each.inline and not APART.search(each.file)})
    witness = {each.symbol: each for each in compile_all(root, model, names)}
    for symbol, function in sorted(model.functions.items()):
        seen = witness.get(symbol)
        if seen is None:
            continue
        report.compared += 1
        report.differences += [f"{symbol}: {difference}" for difference in differences(function, seen)]
    return report


def compile_all(root: Path, model: Model, names: list[str]) -> list[dwarf.Subprogram]:
    """What gcc says of the functions of these names; those that it does not know are left out."""
    headers = sorted({each.file for each in model.functions.values() if "/bits/" not in each.file})
    headers = [header for header in headers if not APART.search(header)]
    headers += [f"{root}/usr/include/{name}" for name in ("math.h", "complex.h")]  # all in bits/
    own = subprocess.run(["cc", "-print-file-name=include"], check=True, capture_output=True, text=True)
    flags = ["-std=gnu17", "-D_GNU_SOURCE", "-O1", "-nostdinc", "-isystem", own.stdout.strip()]
    flags += ["-isystem", f"{root}/usr/include/{TRIPLET}", "-isystem", f"{root}/usr/include"]
    text = "".join(f'#include "{header}"\n' for header in headers)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "all.c"), Path(folder, "all.o")
        for _ in range(2):
            uses = "".join(f"  (void *) {name},\n" for name in names)
            source.write_text(f"{text}\nvoid *all[] = {{\n{uses}}};\n", encoding="utf-8")
            command = ["cc", "-g", "-c", "-w", "-fmax-errors=0", *flags, "-o", str(target), str(source)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return list(dwarf.subprograms(target))
            unknown = set(re.findall(r"error: (?:built-in function )?.(\w+). (?:undeclared|must be)", done.stderr))
            if not unknown:
                break
            names = [name for name in names if name not in unknown]
    raise RuntimeError(done.stderr)


def differences(function: Function, seen: dwarf.Subprogram) -> list[str]:
    """What two declarations do not agree on."""
    if len(function.params) != len(seen.params):
        return [f"{len(function.params)} parameters, gcc says {len(seen.params)}"]
    found = []
    if function.variadic != seen.variadic:
        found.append(f"variadic {function.variadic}, gcc says {seen.variadic}")
    pairs = [(param.type, other) for param, other in zip(function.params, seen.params)]
    for at, (ours, theirs) in enumerate([(function.result, seen.result), *pairs]):
        if kind(ours) != kind(theirs):
            found.append(f"{f'parameter {at}' if at else 'result'} is {kind(ours)}, gcc says {kind(theirs)}")
    return found


def kind(said: Type) -> str:
    """How a value is passed, as far as both can tell."""
    if said["kind"] in ("array", "pointer", "va_list", "function"):
        return "pointer"
    if said["kind"] in ("record", "enum"):
        return said["kind"]
    return said.get("base", said["kind"])
