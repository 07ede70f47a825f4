"""Which browser is taken: in which order, and what is said when there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers import chromium
from workers.chromium import BrowserMissing


class Machine:
    """A machine of files: a folder that is PATH, and one that is home."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "bin"
        self.home = folder / "home"
        self.path.mkdir()
        self.home.mkdir()
        self.environ = {"PATH": str(self.path), "HOME": str(self.home)}

    def has(self, place: str, *, says: str = "", fails: bool = False) -> Path:
        """Put a program below PATH or home; it prints its own name unless told otherwise."""
        program = self.home / place if "/" in place else self.path / place
        program.parent.mkdir(parents=True, exist_ok=True)
        complaint = "echo 'libnss3.so: cannot open shared object file' >&2; exit 127"
        program.write_text(f"#!/bin/sh\n{complaint if fails else f'echo {says or place} 1.0'}\n")
        program.chmod(0o755)
        return program


DOWNLOADED = ".cache/ms-playwright/chromium_headless_shell-{}/chrome-linux/headless_shell"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_setting_goes_before_everything(machine: Machine) -> None:
    machine.has("chromium-headless-shell")
    chosen = machine.has("somewhere/else", says="mine")
    found = chromium.find(str(chosen), machine.environ)
    assert found == chromium.Program(chosen, "mine 1.0")


def test_the_setting_may_be_a_name_on_the_path(machine: Machine) -> None:
    machine.has("chromium-headless-shell")
    chosen = machine.has("brave")
    assert chromium.find("brave", machine.environ).path == chosen


@pytest.mark.parametrize("fails", [True, False])
def test_a_setting_that_does_not_start_is_not_replaced_by_another_browser(
    machine: Machine, fails: bool
) -> None:
    machine.has("chromium")
    chosen = str(machine.has("broken", fails=True)) if fails else "/no/such/browser"
    with pytest.raises(BrowserMissing, match=r"broken|BROADSHEET_CHROMIUM"):
        chromium.find(chosen, machine.environ)


def test_the_headless_shell_goes_before_chromium_before_chrome(machine: Machine) -> None:
    programs = [machine.has(DOWNLOADED.format(9))]
    programs += [
        machine.has(name) for name in ("google-chrome", "chromium", "chromium-headless-shell")
    ]
    while programs:
        assert chromium.find("", machine.environ).path == programs[-1]
        programs.pop().unlink()


def test_what_does_not_start_is_passed_over(machine: Machine) -> None:
    machine.has("chromium", fails=True)
    other = machine.has("google-chrome")
    assert chromium.find("", machine.environ).path == other


def test_of_several_downloads_the_newest_is_taken(machine: Machine) -> None:
    machine.has(DOWNLOADED.format(999))
    newest = machine.has(DOWNLOADED.format(1200))
    assert chromium.find("", machine.environ).path == newest


def test_downloads_are_looked_for_where_playwright_was_told_to_put_them(
    machine: Machine, tmp_path: Path
) -> None:
    elsewhere = machine.has("elsewhere/chromium-5/chrome-linux/chrome")
    environ = machine.environ | {"PLAYWRIGHT_BROWSERS_PATH": str(machine.home / "elsewhere")}
    assert chromium.find("", environ).path == elsewhere


def test_where_there_is_none_the_sentence_says_what_to_do(machine: Machine) -> None:
    with pytest.raises(BrowserMissing) as caught:
        chromium.find("", machine.environ)
    assert "chromium-headless-shell" in caught.value.message
    assert "BROADSHEET_CHROMIUM" in caught.value.message


def test_where_none_starts_the_sentence_also_says_why(machine: Machine) -> None:
    machine.has("chromium", fails=True)
    with pytest.raises(BrowserMissing, match=r"libnss3\.so.*Install the package"):
        chromium.find("", machine.environ)
