"""Packages of the distribution, where it is Debian or one of its kin; and running what may fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

INSTALL_TIMEOUT = 600


def command() -> tuple[str, ...]:
    """Return the beginning of a command that installs packages without asking, () if none may."""
    if shutil.which("apt-get") is None:
        return ()
    if os.geteuid() == 0:
        rights: tuple[str, ...] = ()
    elif shutil.which("sudo") and run(("sudo", "--non-interactive", "true")):
        rights = ("sudo", "--non-interactive")
    else:
        return ()
    return (*rights, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet=2")


def run(
    command: Sequence[str | Path], timeout: float = INSTALL_TIMEOUT, *, cwd: Path | None = None
) -> bool:
    """Run a command and say whether it went well; what it says is of interest only if not."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=timeout,
            cwd=cwd,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        print(f"  {exc}", file=sys.stderr)
        return False
    if done.returncode:
        complaints = [line for line in done.stdout.splitlines() if "rror" in line]
        print(f"  {(complaints or ['It failed.'])[0].strip()}", file=sys.stderr)
    return done.returncode == 0
