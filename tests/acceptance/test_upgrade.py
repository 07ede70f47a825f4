"""A rolling upgrade: processes of the release before work beside those of this one."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from deploy.local.inbox import Inbox
from deploy.local.stack import Stack
from tests.acceptance.harness import Service, clean_environ

#: The commit of the release before this one; to be moved when there is a new release.
BEFORE = "b0c52a3"
WORKERS, OTHERS = frozenset({"render", "deliver"}), frozenset({"api", "beat"})


@pytest.fixture(scope="module")
def before(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code of the release before, out of this repository's history."""
    archived = subprocess.run(
        ["git", "-C", checkout, "archive", BEFORE, "api", "beat", "shared", "workers"],
        capture_output=True,
        check=False,
    )
    assert archived.returncode == 0, (
        f"This test needs commit {BEFORE}: a shallow clone lacks it (git fetch --unshallow). "
        f"{archived.stderr.decode()}"
    )
    folder = tmp_path_factory.mktemp("before")
    with tarfile.open(fileobj=io.BytesIO(archived.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


@contextmanager
def mixed(folder: Path, before: Path, old: frozenset[str]) -> Iterator[Service]:
    """A stack on this release's schema, some of whose processes are of the release before."""
    with Inbox(folder / "mail") as inbox:
        settings = {"SMTP_PORT": str(inbox.port)}
        stack = Stack(folder / "log", environ=clean_environ(), settings=settings)
        stack.checkouts = dict.fromkeys(old, before)
        with stack:
            service = Service(stack, inbox)
            yield service
            service.api.close()


def listened_to(service: Service) -> set[str]:
    """The queues that anybody listens to; those that people wait for are new in this release."""
    with psycopg.connect(service.stack.database_url) as conn:
        return {name for (name,) in conn.execute("SELECT unnest(queues) FROM process")}


@pytest.mark.parametrize("old", [WORKERS, OTHERS], ids=["old workers", "old api and beat"])
def test_reports_go_out_by_schedule_and_by_request_while_releases_are_mixed(
    tmp_path: Path, before: Path, old: frozenset[str]
) -> None:
    with mixed(tmp_path, before, old) as service:
        report = service.create("Mixed", "small", "nodes", recipients="a@e.org,b@e.org")

        assert service.ended(report)["state"] == "sent"
        answer = service.api.post(
            "/api/reports/email", json={"id": str(report), "emails": "c@e.org"}, timeout=60
        )

        assert (answer.status_code, answer.json()["message"]) == (200, "Report was sent")
        assert sorted(mail.recipients[0] for mail in service.mails("Mixed")) == [
            "a@e.org",
            "b@e.org",
            "c@e.org",
        ]
        # Whether the workers really are of another release.
        assert ("render.interactive" in listened_to(service)) == (old == OTHERS)
