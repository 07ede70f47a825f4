"""Finding the browser: which program captures run in.

The order is the one the documentation promises: the setting, `chromium-headless-shell`,
`chromium`, Google Chrome, then what Playwright has downloaded. A program that is there but does
not start, as where a library is missing, is passed over. Nothing is installed here.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from shared.errors import Permanent

#: Looked for on PATH, the leanest first: the headless shell is the same engine without windows.
NAMES = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)
#: Where `playwright install` puts browsers below the home folder, on Linux and on macOS …
FOLDERS = (".cache/ms-playwright", "Library/Caches/ms-playwright")
#: … and what they are called there.
DOWNLOADS = (
    "chromium_headless_shell-*/*/chrome-headless-shell",
    "chromium_headless_shell-*/*/headless_shell",
    "chromium-*/*/chrome",
    "chromium-*/*/*.app/Contents/MacOS/*",
)
START_TIMEOUT = 20.0
ADVICE = (
    "Install the package chromium-headless-shell (or chromium), or set BROADSHEET_CHROMIUM to "
    "the path of a Chromium or Chrome."
)


class BrowserMissing(Permanent):
    """No browser is found."""


@dataclass(frozen=True, slots=True)
class Program:
    """A browser that starts. `version` is what it says of itself: `Chromium 150.0.7000.1`."""

    path: Path
    version: str


def find(chosen: str, environ: Mapping[str, str]) -> Program:
    """Return the browser to use; `chosen` is the setting `chromium`, which may be empty.

    Starts it once, for its version. Raises `BrowserMissing`, also where `chosen` is given and
    does not start: what an operator chose is not replaced by something else.
    """
    path = environ.get("PATH")
    if chosen:
        found = shutil.which(chosen, path=path)
        if found is None:
            raise BrowserMissing(f"BROADSHEET_CHROMIUM names {chosen!r}, which is not a program.")
        return start(Path(found))
    faults = []
    for candidate in _candidates(environ):
        try:
            return start(candidate)
        except BrowserMissing as exc:
            faults.append(exc.message)
    raise BrowserMissing(" ".join([*(faults or ["No browser is found."]), ADVICE]))


def start(program: Path) -> Program:
    """Start a browser to ask its version. Raises `BrowserMissing` with what it said instead."""
    try:
        answer = subprocess.run(  # noqa: S603 - a path, and no shell
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT,
            check=True,
        )
    except subprocess.CalledProcessError as exc:
        reason = exc.stderr.strip().rpartition("\n")[2] or f"exit code {exc.returncode}"
        raise BrowserMissing(f"{program} does not start: {reason}.") from exc
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise BrowserMissing(f"{program} does not start: {exc}.") from exc
    return Program(program, answer.stdout.strip())


def _candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    for name in NAMES:
        found = shutil.which(name, path=environ.get("PATH"))
        if found:
            yield Path(found)
    chosen = environ.get("PLAYWRIGHT_BROWSERS_PATH", "")
    home = Path(environ.get("HOME") or "/nonexistent")
    for folder in [Path(chosen)] if chosen else [home / name for name in FOLDERS]:
        for pattern in DOWNLOADS:
            yield from sorted(folder.glob(pattern), key=_build, reverse=True)


def _build(program: Path) -> int:
    """Return the number that Playwright wrote into the folder's name; higher is newer."""
    number = re.search(r"chromium(?:_headless_shell)?-(\d+)/", program.as_posix())
    return int(number[1]) if number else 0
