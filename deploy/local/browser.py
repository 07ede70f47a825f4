"""`python -m deploy.local.browser`: see that there is a browser, else try to have one.

A browser that is already there is used as it is. Else Playwright's own download is tried, which
needs no rights, then the distribution's package where this may be installed without asking.
Fonts are looked for as well, and installed where that needs no asking: a report without them is
still a report, so what cannot be had is a hint, once per .venv.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from deploy.local import apt
from workers import fontconfig
from workers.chromium import BrowserMissing, find

#: They are a hundred megabytes, and a machine without a network should not be kept from its work.
FONTS_TIMEOUT = 180
#: That fonts were tried to be had, so that no later `make` tries again.
TRIED = Path(sys.prefix) / "fonts-tried"


def main() -> int:
    """Return 0 when there is a browser, after installing one if need be."""
    if not _browser():
        return 1
    _fonts()
    return 0


def _browser() -> bool:
    chosen = os.environ.get("BROADSHEET_CHROMIUM", "")
    try:
        find(chosen, os.environ)
    except BrowserMissing as exc:
        missing = exc
    else:
        return True
    for command in [] if chosen else list(_ways()):
        print(f"No browser yet; trying: {' '.join(command)}", flush=True)
        if not apt.run(command):
            continue
        try:
            print(f"Browser: {find(chosen, os.environ).version}")
        except BrowserMissing as exc:
            missing = exc
        else:
            return True
    print(missing.message, file=sys.stderr)
    return False


def _fonts() -> None:
    """Have fonts for the scripts of the world, if that is easily done; else say what is missing."""
    if TRIED.exists() or not fontconfig.advice(fontconfig.languages(os.environ)):
        return
    if may := apt.command():
        quick = ("-o", "Acquire::http::Timeout=10", "-o", "Acquire::Retries=0")
        packages = ("fontconfig", *fontconfig.PACKAGES)
        print(f"Some scripts have no font yet; trying: apt-get install {' '.join(packages)}")
        install = (*may, *quick, "install", "--yes", "--no-install-recommends", *packages)
        if not apt.run(install, FONTS_TIMEOUT) and apt.run((*may, *quick, "update"), FONTS_TIMEOUT):
            apt.run(install, FONTS_TIMEOUT)
    advice = fontconfig.advice(fontconfig.languages(os.environ))
    if advice:
        print(advice)
        TRIED.touch()


def _ways() -> Iterator[Sequence[str]]:
    """Yield the commands that may bring a browser, in the order they are to be tried."""
    playwright = (sys.executable, "-m", "playwright")
    yield *playwright, "install", "chromium-headless-shell"
    may = apt.command()
    if not may:
        return
    yield *may, "update"
    for package in ("chromium-headless-shell", "chromium"):
        yield *may, "install", "--yes", "--no-install-recommends", package
    # Ubuntu's packages are hollow; there the download lacks only some libraries.
    yield *playwright, "install-deps", "chromium-headless-shell"


if __name__ == "__main__":
    sys.exit(main())
