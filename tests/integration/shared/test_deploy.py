"""What Broadsheet is deployed with: the files name what there is, and say the same as README."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared import db
from shared.settings import PREFIX, Settings

KNOWN = {PREFIX + field.name.upper() for field in dataclasses.fields(Settings)}
FOLDERS = ("docker", "kubernetes", "systemd", "proxy", "prometheus")


def files(checkout: Path) -> list[Path]:
    found = [path for name in FOLDERS for path in (checkout / "deploy" / name).rglob("*")]
    return [path for path in found if path.is_file()]


def test_each_variable_is_a_setting(checkout: Path) -> None:
    for path in files(checkout):
        for variable in re.findall(r"\bBROADSHEET_[A-Z_]+[A-Z]", path.read_text(encoding="utf-8")):
            # "BROADSHEET_*" and the like, in prose.
            if variable.count("_") > 1:
                bare = variable.removesuffix("_FILE")
                assert {variable, bare} & KNOWN, (path, variable)


def test_each_yaml_file_can_be_read(checkout: Path) -> None:
    found = [path for path in files(checkout) if path.suffix in (".yml", ".yaml")]
    assert len(found) > 10
    for path in found:
        assert list(yaml.safe_load_all(path.read_text(encoding="utf-8"))), path


@pytest.mark.parametrize("role", ["api", "beat", "render", "deliver"])
def test_each_role_is_started_as_the_readme_says(checkout: Path, role: str) -> None:
    readme = (checkout / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| `((?:gunicorn|celery) [^`]+)` \|$", readme, re.MULTILINE)
    wanted = {"api": "gunicorn", "beat": " beat ", "render": "-Q render", "deliver": "-Q deliver"}
    [command] = [row for row in rows if wanted[role] in row]
    # What an operator chooses: how many, and where to listen.
    fixed = re.sub(r" -c (\S+)(?= --|$)| -b \S+", "", command)
    run = (checkout / "deploy" / "docker" / "run").read_text(encoding="utf-8")
    run = run.replace("$worker", re.search(r'^worker="(.*)"$', run, re.MULTILINE)[1])  # type: ignore[index]  # it is there
    [unit] = (checkout / "deploy" / "systemd").glob(f"broadsheet-{role}*.service")
    for text in (run, unit.read_text(encoding="utf-8")):
        for word in fixed.split():
            assert word in text, (role, word)


def test_what_kubernetes_scales_by_can_be_asked_of_the_real_schema(
    checkout: Path, pool: db.Pool
) -> None:
    path = checkout / "deploy" / "kubernetes" / "keda" / "scaledobjects.yaml"
    queries = [
        trigger["metadata"]["query"]
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
        for trigger in document["spec"].get("triggers", ())
        if trigger["type"] == "postgresql"
    ]
    assert queries
    with db.transaction(pool) as conn:
        for query in queries:
            row: Any = conn.execute(query.encode()).fetchone()
            assert list(row.values()) == [0]
