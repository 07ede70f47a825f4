"""`python -m deploy.local.nginx`: see that there is an nginx for the tests of deploy/proxy.

One that is installed is used as it is. Else the distribution's package is fetched and unpacked
into .venv, which needs no rights and, unlike installing it, starts no server on this machine.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from deploy.local import apt

#: Where the program is on one release of Debian or Ubuntu or the other.
PACKAGES = ("nginx", "nginx-core", "nginx-light")
FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/usr/local/bin")
UNPACKED = Path(sys.prefix) / "nginx"
MISSING = (
    "The tests of the reverse proxy need nginx and there is none: install the package nginx of "
    "your system, then try again."
)


class NginxMissing(Exception):
    """There is no nginx that runs."""


def main() -> int:
    """Return 0 when there is an nginx, after unpacking one if need be."""
    try:
        find()
    except NginxMissing:
        for package in PACKAGES:
            if _unpack(package):
                break
    try:
        find()
    except NginxMissing as exc:
        print(exc, file=sys.stderr)
        return 1
    return 0


def find() -> Path:
    """Return the path of an nginx that runs, or raise `NginxMissing`."""
    usual = [Path(folder, "nginx") for folder in FOLDERS]
    named = shutil.which("nginx")
    for path in [*([Path(named)] if named else []), *usual, UNPACKED / "usr/sbin/nginx"]:
        if path.is_file() and _runs(path):
            return path
    raise NginxMissing(MISSING)


def _runs(path: Path) -> bool:
    """Whether it starts: a program may lack a library."""
    return subprocess.run([path, "-v"], capture_output=True, check=False).returncode == 0


def _unpack(package: str) -> bool:
    """Fetch a package, after fetching the list of them if need be, and unpack it."""
    if shutil.which("apt-get") is None:
        return False
    print(f"No nginx yet; trying: apt-get download {package}", flush=True)
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
        return apt.run(("dpkg-deb", "--extract", found, UNPACKED)) and (
            (UNPACKED / "usr/sbin/nginx").is_file()
        )


if __name__ == "__main__":
    sys.exit(main())
