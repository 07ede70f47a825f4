"""Child processes of one run of the stack: started with a log, watched, ended without leftovers.

Every process of a run can be told from all others, whoever started it: it has the run's folder
in its environment, or works inside that folder. So a browser that outlived its worker is found.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

#: Set in the environment of every process of a run, to the path of the run's folder.
MARK = "STACK_FOLDER"
START_TIMEOUT = 60.0
#: How often something is looked at that cannot be waited for.
LOOK = 0.02
TAIL_LINES = 20


class ProcessFault(Exception):
    """A process of the stack did not start, or ended by itself. The message has its last lines."""


@dataclass(frozen=True)
class Process:
    """A running child, in a session of its own so that Ctrl-C reaches the stack alone."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    #: The signal that asks it to end well.
    farewell: int = signal.SIGTERM

    def check(self) -> None:
        """Raise `ProcessFault` if it has ended."""
        code = self.popen.poll()
        if code is not None:
            ended = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
            raise ProcessFault(f"{self.name} {ended}. {self.last_words()}")

    def said(self) -> str:
        """Return its log so far."""
        return self.log.read_text(errors="replace")

    def last_words(self) -> str:
        """Return the end of its log, ready to be printed."""
        lines = self.said().splitlines()[-TAIL_LINES:]
        return f"The end of {self.log}:\n\n" + "\n".join(f"    {line}" for line in lines)

    def wait_until(self, ready: Callable[[], bool], *, timeout: float = START_TIMEOUT) -> None:
        """Return when `ready` says so; raise `ProcessFault` if it ends first or takes too long."""
        deadline = time.monotonic() + timeout
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise ProcessFault(f"{self.name} took over {timeout:.0f} s. {self.last_words()}")
            time.sleep(LOOK)

    def wait_for_words(self, words: str, *, timeout: float = START_TIMEOUT) -> str:
        """Return what follows `words` on their line of the log, waiting for them."""
        self.wait_until(lambda: words in self.said(), timeout=timeout)
        return self.said().partition(words)[2].partition("\n")[0].strip()


def start(
    name: str,
    command: Sequence[str | Path],
    *,
    log: Path,
    environ: Mapping[str, str],
    cwd: Path | None = None,
    user: str | None = None,
    farewell: int = signal.SIGTERM,
) -> Process:
    """Start a process that writes what it says to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        popen = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=dict(environ),
            cwd=cwd,
            user=user,
            start_new_session=True,
        )
    return Process(name, popen, log, farewell)


def stop(processes: Sequence[Process], *, patience: float = 10.0) -> None:
    """End these side by side: politely, and after `patience` seconds with all their children."""
    for process in processes:
        if process.popen.poll() is None:
            process.popen.send_signal(process.farewell)
    deadline = time.monotonic() + patience
    for process in processes:
        try:
            process.popen.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            kill(process)


def kill(process: Process) -> None:
    """End a process and its children at once, as kill -9 does."""
    if process.popen.poll() is None:
        os.killpg(process.popen.pid, signal.SIGKILL)
        process.popen.wait()


def of_run(folder: Path) -> list[psutil.Process]:
    """Return every process that belongs to the run in `folder`, except the caller."""
    found = []
    for process in psutil.process_iter():
        try:
            # A server that shows a title of its own (Redis, Postgres) overwrites its environment.
            mine = process.environ().get(MARK) == str(folder) or Path(process.cwd()).is_relative_to(
                folder
            )
        except (psutil.Error, OSError):
            continue
        if mine and process.pid != os.getpid():
            found.append(process)
    return found


def sweep(folder: Path, *, patience: float = 5.0) -> None:
    """End whatever is left of the run in `folder`, however it came to be left."""
    begun = time.monotonic()
    for process in (left := of_run(folder)):
        _signal(process, signal.SIGTERM)
    while left and time.monotonic() < begun + 2 * patience:
        if time.monotonic() > begun + patience:
            for process in left:
                _signal(process, signal.SIGKILL)
        psutil.wait_procs(left, timeout=LOOK)
        left = of_run(folder)


def _signal(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
