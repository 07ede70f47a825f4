"""What holds for the checkout as a whole: whose packages these are, and rules without exception."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGES = ("api", "workers", "beat", "shared")
#: What silences a tool, with the codes it names; what follows has to be the reason.
OPT_OUT = re.compile(r"# (?:type: ignore|noqa|mypy:)(?:: ?[A-Z]+\d+(?:, ?[A-Z]+\d+)*)?(?:\[.*?\])?")
REASON = re.compile(r"[^\W\d_]{2,}.*\s\W*[^\W\d_]{2,}")


def sources(checkout: Path, *folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((checkout / folder).rglob("*.py"))


@pytest.mark.parametrize("name", PACKAGES)
def test_each_package_comes_from_this_checkout(name: str, checkout: Path) -> None:
    """Any distribution may bring a package called `shared` and shadow ours unnoticed."""
    package = importlib.import_module(name)
    assert package.__file__ is not None
    assert Path(package.__file__).resolve().is_relative_to(checkout)


def test_each_package_says_that_it_is_typed(checkout: Path) -> None:
    assert [name for name in PACKAGES if not (checkout / name / "py.typed").is_file()] == []


def test_whatever_a_package_reads_goes_into_the_distribution(checkout: Path) -> None:
    """What is missing there works in a checkout, and nowhere else."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))
    listed = project["tool"]["setuptools"]["package-data"]
    for name in PACKAGES:
        there = {
            path.relative_to(checkout / name).as_posix()
            for path in (checkout / name).rglob("*")
            if path.is_file() and path.suffix not in (".py", ".pyc")
        }
        packed = {
            path.relative_to(checkout / name).as_posix()
            for pattern in (*listed["*"], *listed.get(name, ()))
            for path in (checkout / name).glob(pattern)
        }
        assert there - packed == set(), f"pyproject.toml leaves out files of {name}"


def test_no_package_imports_what_it_must_not(checkout: Path) -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [program, "--no-cache"],
        cwd=checkout,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_importing_a_package_does_nothing_but_define(checkout: Path) -> None:
    """No connection, no thread, no environment: a process starts only where it is told to."""
    script = (
        "import os, sys, threading, importlib, pkgutil\n"
        "before = dict(os.environ)\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "entry = {'api.wsgi', 'beat.app', 'workers.app', 'api.gunicorn_conf'}\n"
        f"for package in {PACKAGES!r}:\n"
        "    found = importlib.import_module(package)\n"
        "    for module in pkgutil.walk_packages(found.__path__, package + '.'):\n"
        "        if module.name not in entry:\n"
        "            importlib.import_module(module.name)\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
        "assert dict(os.environ) == before\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(checkout)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_migrations_are_numbered_without_gap_and_named_for_what_they_do(checkout: Path) -> None:
    names = sorted(path.name for path in (checkout / "shared" / "migrations").iterdir())
    numbers = []
    for name in names:
        found = re.fullmatch(r"(\d{4})_[a-z0-9]+(?:_[a-z0-9]+)*\.sql", name)
        assert found, f"{name} is not NNNN_what_it_does.sql"
        numbers.append(int(found[1]))
    assert numbers == list(range(1, len(names) + 1))


def test_every_opt_out_has_its_reason_beside_it(checkout: Path) -> None:
    bare = [
        f"{path.relative_to(checkout)}:{number}: {line.strip()}"
        for path in sources(checkout, *PACKAGES, "deploy", "tests")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if OPT_OUT.search(line) and not REASON.search(OPT_OUT.split(line)[-1])
    ]
    assert bare == []


def test_no_test_is_skipped_or_rerun(checkout: Path) -> None:
    """A missing service fails; a test that fails now and then is mended."""
    pattern = re.compile(r"\b(?:pytest\.skip|mark\.skip|mark\.xfail|importorskip|mark\.flaky)")
    here = Path(__file__).resolve()
    found = [
        str(path.relative_to(checkout))
        for path in sources(checkout, "tests")
        if path != here and pattern.search(path.read_text(encoding="utf-8"))
    ]
    assert found == []
