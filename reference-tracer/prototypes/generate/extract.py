"""Reads the headers of every source package of a root that has both headers and a library."""

import os
import re
import subprocess
import tomllib
from dataclasses import dataclass, field
from multiprocessing import Pool
from pathlib import Path

from clang import cindex

from . import debian, elf, headers, model

HERE = Path(__file__).parent
TRIPLET = "x86_64-linux-gnu"
LIBRARY = re.compile(r"\.so(\.[\w.]+)?$")
HEADER_FOLDERS = re.compile(rf"^/usr/(include|lib/{TRIPLET}/[^/]+/include|lib/{TRIPLET}/perl/[^/]+/CORE)/")
CXX_FOLDERS = re.compile(r"/include/c\+\+/")


@dataclass
class Package:
    """What one source package has: its headers, its .pc files and its libraries."""

    source: str
    headers: list[str] = field(default_factory=list)
    modules: list[str] = field(default_factory=list)
    libraries: list[elf.Image] = field(default_factory=list)


def read_packages(root: Path) -> dict[str, Package]:
    """The source packages of a root."""
    packages: dict[str, Package] = {}
    for name, owner in debian.read_index(root).items():
        package = packages.setdefault(owner.source, Package(owner.source))
        if name.endswith(".h") and HEADER_FOLDERS.match(name) and not CXX_FOLDERS.search(name):
            package.headers.append(name)
        elif name.endswith(".pc"):
            package.modules.append(Path(name).stem)
        elif LIBRARY.search(name) and "/lib/" in name and not (root / name[1:]).is_symlink():
            image = elf.read(root / name[1:])
            if image is not None and image.exports:
                package.libraries.append(image)
    return packages


def extract(root: Path, library: Path, folder: Path, only: set[str]) -> None:
    """Reads the headers of the packages named, or of all that the folder of models does not have yet."""
    jobs = []
    table = tomllib.loads((HERE / "sources.toml").read_text(encoding="utf-8"))
    for package in read_packages(root).values():
        wanted = package.source in only if only else not (folder / f"{package.source}.json").exists()
        if package.headers and package.libraries and wanted:
            jobs.append(job(root, package, table.get(package.source, {}), headers.resource_folder(library)))
    jobs.sort(key=lambda each: len(each.headers))
    with Pool(os.cpu_count(), cindex.Config.set_library_file, [str(library)]) as pool:
        for each in pool.imap_unordered(headers.read, jobs):
            model.save(folder, each)
            print(f"{each.source}: {len(each.functions)} functions, {len(each.errors)} headers with errors", flush=True)


def job(root: Path, package: Package, special: dict, resources: Path) -> headers.Job:
    """How a package's headers are read."""
    wanted = [name for name in package.headers if re.search(special.get("only", ""), name)]
    if "skip" in special:
        wanted = [name for name in wanted if not re.search(special["skip"], name)]
    flags = [f"-I{resources}", f"-I{root}/usr/include/{TRIPLET}", f"-I{root}/usr/include"]
    flags += [flag.replace("ROOT", str(root)) for flag in special.get("flags", [])]
    flags += module_flags(root, package.modules)
    flags += [f"-idirafter{root}{folder}" for folder in sorted(folders(wanted))]
    paths, own = ([f"{root}{name}" for name in sorted(names)] for names in (wanted, package.headers))
    return headers.Job(package.source, paths, own, flags, special.get("before", []))


def folders(names: list[str]) -> set[str]:
    """The folders below the include folder that headers may be meant to be found in."""
    found = set()
    for name in names:
        parent = Path(name).parent
        while parent.name not in ("include", TRIPLET):
            found.add(str(parent))
            parent = parent.parent
    return found


def module_flags(root: Path, modules: list[str]) -> list[str]:
    """What pkg-config(1) says; a module that needs another that is not there says nothing."""
    places = [root / "usr/lib" / TRIPLET / "pkgconfig", root / "usr/share/pkgconfig"]
    environment = os.environ | {
        "PKG_CONFIG_SYSROOT_DIR": str(root), "PKG_CONFIG_LIBDIR": ":".join(map(str, places)),
    }
    flags: list[str] = []
    for module in sorted(modules):
        said = subprocess.run(
            ["pkg-config", "--cflags", module], env=environment, capture_output=True, text=True, check=False,
        )
        flags += [flag for flag in said.stdout.split() if flag.startswith(("-I", "-D")) and flag not in flags]
    return flags
