"""Debian packages unpacked into a folder, so that nothing is installed on the machine.

A *root* is such a folder. Beside the packages' files it holds `index.tsv`, which tells for each file the
binary package and the source package that it comes from.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

INDEX = "index.tsv"
ARCHIVES = "archives"


@dataclass(frozen=True)
class Owner:
    """Whose file it is."""

    package: str
    source: str


def read_names(path: Path) -> list[str]:
    """The words of a package list; `#` begins a comment."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [word for line in lines for word in line.partition("#")[0].split()]


def fetch(root: Path, packages: list[str]) -> None:
    """Downloads the packages and all they depend on with apt-get, and unpacks them into `root`.

    apt-get is told that nothing is installed, so the outcome does not depend on the machine.
    """
    archives = root / ARCHIVES
    (archives / "partial").mkdir(parents=True)
    status = root / "status"
    status.touch()
    command = ["apt-get", "--yes", "--no-install-recommends", "--download-only"]
    command += ["-o", f"Dir::State::status={status}", "-o", f"Dir::Cache::archives={archives}"]
    command += ["-o", "Debug::NoLocking=1", "install", *packages]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    link_merged_folders(root)
    with (root / INDEX).open("w", encoding="utf-8") as index:
        for archive in sorted(archives.glob("*.deb")):
            owner = read_owner(archive)
            for name in unpack(archive, root):
                index.write(f"{name}\t{owner.package}\t{owner.source}\n")
            archive.unlink()


def link_merged_folders(root: Path) -> None:
    """Makes `/lib` and its like links into `/usr`, as on a machine where the packages are installed."""
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(f"usr/{name}")


def read_owner(archive: Path) -> Owner:
    """The package in an archive, and its source (deb-control(5), "Source": absent where it is equal)."""
    shown = subprocess.run(
        ["dpkg-deb", "--show", "--showformat=${Package}\t${source:Package}", str(archive)],
        check=True, capture_output=True, text=True,
    )
    package, source = shown.stdout.split("\t")
    return Owner(package, source)


def unpack(archive: Path, root: Path) -> list[str]:
    """Unpacks an archive and returns its files' names, `/usr/...`."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE) as source:
        tar = ["tar", "--extract", "--verbose", "--keep-directory-symlink", "--no-same-owner", "--directory", str(root)]
        done = subprocess.run(tar, stdin=source.stdout, check=True, capture_output=True, text=True)
    if source.returncode != 0:
        raise subprocess.CalledProcessError(source.returncode, "dpkg-deb")
    return [canonical(name) for name in done.stdout.splitlines() if not name.endswith("/")]


def canonical(name: str) -> str:
    """A file's name in an archive (`./lib/x`) as a path in a machine with merged folders (`/usr/lib/x`)."""
    name = name.removeprefix(".")
    return name if name.startswith(("/usr/", "/etc/", "/var/", "/opt/")) else f"/usr{name}"


def read_index(root: Path) -> dict[str, Owner]:
    """Who owns each file of a root."""
    owners: dict[str, Owner] = {}
    with (root / INDEX).open(encoding="utf-8") as index:
        for line in index:
            name, package, source = line.rstrip("\n").split("\t")
            owners[name] = Owner(package, source)
    return owners
