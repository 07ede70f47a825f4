"""`make up` itself: it tells what is wrong, and leaves nothing behind however it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
import yaml

from deploy.local import processes
from deploy.local.processes import ProcessFault
from deploy.local.stack import Stack
from tests.acceptance.harness import clean_environ, eventually


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Where the stack makes its folder, so that a test sees what is left of it.

    Not below `tmp_path`, which is too long for the socket of a Postgres.
    """
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def up(temporary: Path, tmp_path: Path, checkout: Path) -> Iterator[subprocess.Popen[str]]:
    """`make up` as a process, after it has said that everything is ready."""
    command = [sys.executable, "-m", "deploy.local", "up", "--folder", str(tmp_path / "var")]
    environ = clean_environ() | {"TMPDIR": str(temporary)}
    with subprocess.Popen(
        command,
        cwd=checkout,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as popen:
        assert popen.stdout is not None
        for line in popen.stdout:
            if "Ready after" in line:
                break
        yield popen
        popen.kill()


def lives(process: psutil.Process) -> bool:
    """Whether it still does anything; a zombie waits only to be noticed by its parent."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_of_a_stack_that_is_ended(
    up: subprocess.Popen[str], temporary: Path, number: signal.Signals
) -> None:
    (folder,) = temporary.glob("broadsheet-*")
    before = processes.of_run(folder)
    # Four roles with their children, Grafana, inbox, Redis, Postgres with its own.
    assert len(before) > 12

    up.send_signal(number)

    assert up.wait(30) == {signal.SIGINT: 130, signal.SIGTERM: 143}.get(number, -number)
    eventually(lambda: not folder.exists(), within=20, what="the folder is deleted")
    assert processes.of_run(folder) == []
    assert [process for process in before if lives(process)] == []
    assert list(temporary.iterdir()) == []


def test_the_command_line_finds_the_stack_by_a_file_that_goes_with_it(
    up: subprocess.Popen[str], tmp_path: Path, checkout: Path
) -> None:
    variables = tmp_path / "var" / "up" / "environment"
    assert variables.stat().st_mode & 0o777 == 0o600
    command = Path(sys.executable).with_name("broadsheet")
    done = subprocess.run(
        ["sh", "-c", f". {variables}; {command} token list"],
        env=clean_environ(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "stack" in done.stdout
    up.send_signal(signal.SIGTERM)
    up.wait(30)
    assert not variables.exists()


def test_a_prometheus_finds_every_process_by_a_file_that_goes_with_the_stack(
    up: subprocess.Popen[str], tmp_path: Path
) -> None:
    scrapes = tmp_path / "var" / "up" / "prometheus.yml"
    found = yaml.safe_load(scrapes.read_text())
    told = {}
    for job in found["scrape_configs"]:
        for address in job["static_configs"][0]["targets"]:
            text = httpx.get(f"http://{address}/metrics", timeout=10).raise_for_status().text
            told[address] = (
                job["job_name"],
                set(re.findall(r"^# TYPE broadsheet_(\w+)", text, re.MULTILINE)),
            )
    jobs = sorted(job for job, _ in told.values())
    assert jobs == ["broadsheet-api", "broadsheet-beat", *["broadsheet-workers"] * 2]
    for job, name in (
        ("broadsheet-api", "reports_due"),
        ("broadsheet-beat", "beat_tick_seconds"),
        ("broadsheet-workers", "browser_launches_total"),
    ):
        assert all(name in names for other, names in told.values() if other == job), job
    assert all(Path(rules).is_file() for rules in found["rule_files"])
    up.send_signal(signal.SIGTERM)
    up.wait(30)
    assert not scrapes.exists()


def test_a_stack_names_the_settings_that_it_does_not_use(tmp_path: Path) -> None:
    outer = {"BROADSHEET_SMTP_HOST": "mail", "BROADSHEET_SMTP_PASSWORD_FILE": os.devnull}
    stack = Stack(tmp_path / "log", environ=clean_environ() | outer)
    try:
        assert stack.passed_over == sorted(outer)
    finally:
        stack.stop()


def test_a_process_that_dies_ends_the_stack_and_is_named_with_its_last_words(
    up: subprocess.Popen[str], temporary: Path
) -> None:
    (folder,) = temporary.glob("broadsheet-*")
    beat = next(one for one in processes.of_run(folder) if "beat.app" in one.cmdline())

    beat.kill()

    _, said = up.communicate(timeout=30)
    assert up.returncode == 1
    assert "beat was ended by signal 9" in said
    assert "beat: Starting" in said
    assert processes.of_run(folder) == []
    assert list(temporary.iterdir()) == []


def test_a_stack_that_cannot_start_says_which_process_and_why(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    wrong = {"SMTP_SECURITY": "rot13"}
    with (
        pytest.raises(ProcessFault, match=r"(?s)ended with code.*SMTP_SECURITY"),
        Stack(tmp_path / "log", environ=clean_environ(), settings=wrong),
    ):
        pytest.fail("It started with a wrong setting.")
    assert list(temporary.iterdir()) == []
