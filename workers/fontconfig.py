"""Fonts of this machine: which scripts could not be printed.

What Broadsheet brings (`fonts/`) covers Latin, Greek and Cyrillic, and a browser on a machine
without any font prints not even that. Which fonts there are, fontconfig knows, as for the browser.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Mapping

#: Each script by the language that stands for it with fontconfig.
SCRIPTS = {
    "Chinese": "zh-cn",
    "Japanese": "ja",
    "Korean": "ko",
    "Arabic": "ar",
    "Hebrew": "he",
    "Devanagari": "hi",
    "Thai": "th",
    "emoji": "und-zsye",
}
#: Debian's packages that bring all of them.
PACKAGES = ("fonts-noto-core", "fonts-noto-cjk", "fonts-noto-color-emoji")
TIMEOUT = 20.0


def languages(environ: Mapping[str, str]) -> frozenset[str] | None:
    """Return what the machine's fonts can write; None where there is no fontconfig to ask."""
    program = shutil.which("fc-list", path=environ.get("PATH"))
    if program is None:
        return None
    try:
        answer = subprocess.run(  # noqa: S603 - a path, and no shell
            [program, "--format=%{lang}\n"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return frozenset(answer.stdout.replace("|", "\n").split())


def lacking(known: Iterable[str]) -> tuple[str, ...]:
    """Return the scripts that none of these languages is written in."""
    there = frozenset(known)
    return tuple(script for script, language in SCRIPTS.items() if language not in there)


def advice(known: frozenset[str] | None) -> str:
    """Say what an operator should know of the fonts, "" if nothing."""
    packages = " ".join(PACKAGES)
    if known is None:
        return "Whether there are fonts cannot be told without fontconfig's fc-list."
    if not known:
        return f"There are no fonts: pages would come out without text. Install {packages}."
    missing = lacking(known)
    if not missing:
        return ""
    return f"There is no font for: {', '.join(missing)}. On Debian: apt install {packages}"
