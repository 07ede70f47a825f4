"""`python -m deploy.local.browser`: see that there is a browser, else try to have one.

A browser that is already there is used as it is. Else Playwright's own download is tried, which
needs no rights, then the distribution's package where this may be installed without asking.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence

from workers.chromium import BrowserMissing, find

INSTALL_TIMEOUT = 600


def main() -> int:
    """Return 0 when there is a browser, after installing one if need be."""
    chosen = os.environ.get("BROADSHEET_CHROMIUM", "")
    try:
        find(chosen, os.environ)
    except BrowserMissing as exc:
        missing = exc
    else:
        return 0
    for command in [] if chosen else list(_ways()):
        print(f"No browser yet; trying: {' '.join(command)}", flush=True)
        if not _run(command):
            continue
        try:
            print(f"Browser: {find(chosen, os.environ).version}")
        except BrowserMissing as exc:
            missing = exc
        else:
            return 0
    print(missing.message, file=sys.stderr)
    return 1


def _ways() -> Iterator[Sequence[str]]:
    """Yield the commands that may bring a browser, in the order they are to be tried."""
    playwright = (sys.executable, "-m", "playwright")
    yield *playwright, "install", "chromium-headless-shell"
    if shutil.which("apt-get") is None:
        return
    if os.geteuid() == 0:
        rights: tuple[str, ...] = ()
    elif shutil.which("sudo") and _run(("sudo", "--non-interactive", "true")):
        rights = ("sudo", "--non-interactive")
    else:
        return
    apt = (*rights, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet=2")
    yield *apt, "update"
    for package in ("chromium-headless-shell", "chromium"):
        yield *apt, "install", "--yes", "--no-install-recommends", package
    # Ubuntu's packages are hollow; there the download lacks only some libraries.
    yield *playwright, "install-deps", "chromium-headless-shell"


def _run(command: Sequence[str]) -> bool:
    """Run a command and say whether it went well; what it says is of interest only if not."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=INSTALL_TIMEOUT,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        print(f"  {exc}", file=sys.stderr)
        return False
    if done.returncode:
        complaints = [line for line in done.stdout.splitlines() if "rror" in line]
        print(f"  {(complaints or ['It failed.'])[0].strip()}", file=sys.stderr)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
