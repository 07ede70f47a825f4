"""`python -m deploy.local.tools NAME …`: see that there is what the tests of `deploy` need.

One that is installed is used as it is. Else the distribution's package is fetched and unpacked
into .venv, which needs no rights and, unlike installing it, starts no server on this machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from deploy.local import apt

FOLDERS = ("/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin")


@dataclass(frozen=True)
class Tool:
    """A program: the packages that may have it, where it is in them, and what it is needed for."""

    name: str
    packages: tuple[str, ...]
    inside: str
    version: str
    purpose: str
    #: Packages of libraries that a machine may lack; they are unpacked beside it.
    libraries: tuple[str, ...] = ()

    @property
    def unpacked(self) -> Path:
        """Where its package is unpacked."""
        return Path(sys.prefix) / self.name

    @property
    def environ(self) -> dict[str, str]:
        """The environment to run it in, where its libraries are found."""
        folders = sorted({str(path.parent) for path in self.unpacked.glob("usr/lib/**/*.so.*")})
        path = ":".join([*folders, os.environ.get("LD_LIBRARY_PATH", "")]).strip(":")
        return {**os.environ, **({"LD_LIBRARY_PATH": path} if path else {})}


#: In one package or another by the release of Debian or Ubuntu.
NGINX = Tool(
    name="nginx",
    packages=("nginx", "nginx-core", "nginx-light"),
    inside="usr/sbin/nginx",
    version="-v",
    purpose="The tests of the reverse proxy",
)
PROMTOOL = Tool(
    name="promtool",
    packages=("prometheus",),
    inside="usr/bin/promtool",
    version="--version",
    purpose="The tests of the alert rules",
)
PGBOUNCER = Tool(
    name="pgbouncer",
    packages=("pgbouncer",),
    inside="usr/sbin/pgbouncer",
    version="--version",
    purpose="The tests of connection pooling",
    libraries=("libc-ares2", "libevent-2.1-7"),
)
TOOLS = {tool.name: tool for tool in (NGINX, PROMTOOL, PGBOUNCER)}


class ToolMissing(Exception):
    """There is no such program that runs."""


def main(names: list[str]) -> int:
    """Return 0 when all of them are there, after unpacking some if need be."""
    for name in names:
        tool = TOOLS[name]
        try:
            find(tool)
        except ToolMissing:
            for package in tool.packages:
                if _unpack(tool, package):
                    break
            for library in tool.libraries:
                _unpack(tool, library)
        try:
            find(tool)
        except ToolMissing as exc:
            print(exc, file=sys.stderr)
            return 1
    return 0


def find(tool: Tool) -> Path:
    """Return the path of one that runs, or raise `ToolMissing`."""
    usual = [Path(folder, tool.name) for folder in FOLDERS]
    named = shutil.which(tool.name)
    for path in [*([Path(named)] if named else []), *usual, tool.unpacked / tool.inside]:
        if path.is_file() and _runs(path, tool):
            return path
    raise ToolMissing(
        f"{tool.purpose} need {tool.name} and there is none: install the package "
        f"{tool.packages[0]} of your system, then try again."
    )


def _runs(path: Path, tool: Tool) -> bool:
    """Whether it starts: a program may lack a library."""
    done = subprocess.run([path, tool.version], capture_output=True, check=False, env=tool.environ)
    return done.returncode == 0


def _unpack(tool: Tool, package: str) -> bool:
    """Fetch a package, after fetching the list of them if need be, and unpack it."""
    if shutil.which("apt-get") is None:
        return False
    print(f"No {tool.name} that runs; trying: apt-get download {package}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        # apt fetches as a user of its own, if the folder lets it.
        place.chmod(0o777)
        fetch = ("apt-get", "--quiet=2", "download", package)
        if not apt.run(fetch, cwd=place):
            may = apt.command()
            if not (may and apt.run((*may, "update")) and apt.run(fetch, cwd=place)):
                return False
        (found,) = place.glob("*.deb")
        return apt.run(("dpkg-deb", "--extract", found, tool.unpacked)) and (
            package in tool.libraries or (tool.unpacked / tool.inside).is_file()
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
