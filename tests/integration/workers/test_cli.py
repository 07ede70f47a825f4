"""The command `broadsheet`, as a process: what it prints, where, and its exit code."""

from __future__ import annotations

import dataclasses
import datetime as dt
import getpass
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pypdf
import pytest

from deploy.local.grafana.server import StandIn
from deploy.local.inbox import Inbox
from shared import (
    admission,
    audit,
    db,
    deliveries,
    documents,
    mail_server,
    presence,
    reports,
    resolutions,
    runs,
    tokens,
)
from shared.presence import Process
from shared.s3 import Bucket
from shared.schedule import Schedule
from shared.settings import Settings
from shared.spec import DashboardSpec, RunSpec
from shared.storage import Storage
from tests.integration.shared.ledgers import ledger_of
from tests.seaweed import Seaweed

Done = subprocess.CompletedProcess[str]
Command = Callable[..., Done]

HOUR = dt.timedelta(hours=1)
#: What the doctor looks at.
PARTS = [
    *("database", "store", "broker", "Grafana", "token", "mail server", "browser", "processes"),
]

#: What the console script `broadsheet` of an installation does.
SCRIPT = "import sys; from workers.cli import main; main(prog_name='broadsheet')"


@pytest.fixture
def broadsheet(environ: dict[str, str], checkout: Path) -> Command:
    """Run the command against this test's database; more settings by keyword, "" unsets one."""

    def run(*words: str, **settings: str) -> Done:
        own = environ | {f"BROADSHEET_{name}": value for name, value in settings.items()}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, *words],
            cwd=checkout,
            env=os.environ | {name: value for name, value in own.items() if value},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture(scope="module")
def grafana() -> Iterator[StandIn]:
    with StandIn() as grafana:
        yield grafana


def lines_of(done: Done) -> dict[str, tuple[str, str]]:
    """The doctor's lines: part → (OK or FAULT, sentence)."""
    found = [re.fullmatch(r"(OK|FAULT) +(.{12}) (.*)", line) for line in done.stdout.splitlines()]
    assert all(found), done.stdout
    return {one[2].strip(): (one[1], one[3]) for one in found if one}


# migrate


def test_migrate_makes_the_schema_once(broadsheet: Command, postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as conn:
        conn.execute("DROP DATABASE IF EXISTS blank WITH (FORCE)")
        conn.execute("CREATE DATABASE blank")
    url = postgres_url.replace("/postgres?", "/blank?")

    first = broadsheet("migrate", DATABASE_URL=url, REDIS_URL="")
    second = broadsheet("migrate", DATABASE_URL=url, REDIS_URL="")

    assert (first.returncode, second.returncode) == (0, 0)
    assert "applied 0001_first_edition" in first.stdout
    assert second.stdout == "The schema is up to date.\n"


def test_a_database_that_is_away_is_one_sentence_and_exit_code_1(broadsheet: Command) -> None:
    done = broadsheet("migrate", DATABASE_URL="postgresql://127.0.0.1:1/x")
    assert done.returncode == 1
    assert done.stderr.startswith("The database does not answer")
    assert len(done.stderr.splitlines()) == 1


def test_wrong_settings_are_listed_and_exit_code_2(broadsheet: Command) -> None:
    done = broadsheet("migrate", SMTP_PORT="x", DATABASE_URL="")
    assert done.returncode == 2
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == [
        "BROADSHEET_SMTP_PORT",
        "BROADSHEET_DATABASE_URL is not set.",
    ]


# token


def test_a_token_is_printed_alone_so_that_a_script_can_take_it(
    broadsheet: Command, database_url: str
) -> None:
    done = broadsheet(
        "token", "create", "ci", "--role", "Admin", "--org-id", "7", "--expires", "2d"
    )

    assert done.returncode == 0, done.stderr
    secret = done.stdout.strip()
    assert secret not in done.stderr
    with db.connect(database_url) as conn:
        token = tokens.look_up(conn, secret)
    assert token is not None
    assert (token.name, token.role, token.org_id) == ("ci", "Admin", 7)
    assert token.expires_at is not None
    assert (token.expires_at - token.created_at).total_seconds() == pytest.approx(172_800, abs=60)


def test_permissions_take_the_place_of_a_role(broadsheet: Command, database_url: str) -> None:
    words = (
        *("reports:read=reports:id:4", "reports:read=reports:id:5"),
        *("reports:create", "reports:send", "reports.settings:read"),
    )
    done = broadsheet(
        "token", "create", "narrow", *(part for word in words for part in ("--permission", word))
    )
    with db.connect(database_url) as conn:
        token = tokens.look_up(conn, done.stdout.strip())
    assert token is not None
    assert token.permissions == {
        "reports:read": ["reports:id:4", "reports:id:5"],
        # As Grafana shows what has no scope.
        "reports:create": [""],
        # Without a scope, what concerns reports concerns all of them.
        "reports:send": ["reports:*"],
        "reports.settings:read": [""],
    }


@pytest.mark.parametrize(
    "words",
    [
        ("x",),
        ("x", "--role", "Admin", "--permission", "reports:read"),
        ("x", "--role", "King"),
        ("x", "--role", "Admin", "--expires", "soon"),
        ("x", "--role", "Admin", "--expires", "0d"),
        ("x", "--role", "Admin", "--expires", "99999999999y"),
        ("x", "--permission", "everything"),
        ("x", "--permission", "reports:raed=reports:id:4"),
        ("x", "--permission", "reports:read="),
        ("x", "--permission", "reports:read=dashboards:*"),
        ("x", "--permission", "reports:create=reports:id:4"),
    ],
)
def test_a_token_that_makes_no_sense_is_refused_before_it_is_made(
    broadsheet: Command, database_url: str, words: tuple[str, ...]
) -> None:
    assert broadsheet("token", "create", *words).returncode == 2
    with db.connect(database_url) as conn:
        assert tokens.find(conn) == []


def test_tokens_are_listed_without_their_secrets_and_revoked_by_id(
    broadsheet: Command, database_url: str
) -> None:
    secret = broadsheet("token", "create", "ci", "--role", "Viewer").stdout.strip()

    listed = broadsheet("token", "list").stdout
    revoked = broadsheet("token", "revoke", "1")
    again = broadsheet("token", "revoke", "1")

    assert secret not in listed
    assert "ci    Viewer  works until revoked  never" in listed
    assert revoked.returncode == 0
    assert (again.returncode, again.stderr) == (1, "There is no token 1 that still works.\n")
    with db.connect(database_url) as conn:
        assert tokens.look_up(conn, secret) is None
    assert "revoked" in broadsheet("token", "list").stdout


# doctor


def test_the_doctor_finds_a_sound_installation_sound(
    broadsheet: Command, grafana: StandIn, tmp_path: Path
) -> None:
    with Inbox(tmp_path) as inbox:
        done = broadsheet(
            "doctor",
            GRAFANA_URL=grafana.url,
            GRAFANA_TOKEN=grafana.token,
            SMTP_HOST="127.0.0.1",
            SMTP_PORT=str(inbox.port),
        )
    assert done.returncode == 0, done.stdout
    found = lines_of(done)
    assert list(found) == PARTS
    assert {state for state, _ in found.values()} == {"OK"}
    assert grafana.version in found["Grafana"][1]
    assert "Main Org." in found["token"][1]


def test_the_doctor_looks_at_everything_even_when_nothing_works(broadsheet: Command) -> None:
    done = broadsheet(
        "doctor",
        DATABASE_URL="postgresql://127.0.0.1:1/x",
        REDIS_URL="redis://127.0.0.1:1/0",
        GRAFANA_URL="http://127.0.0.1:1",
        GRAFANA_TOKEN="t",
        SMTP_HOST="127.0.0.1",
        SMTP_PORT="1",
        CHROMIUM="/no/browser",
    )
    assert done.returncode == 1
    found = lines_of(done)
    assert {state for state, _ in found.values()} == {"FAULT"}
    assert "BROADSHEET_REDIS_URL" in found["broker"][1]
    assert "http://127.0.0.1:1" in found["Grafana"][1]
    assert "BROADSHEET_CHROMIUM" in found["browser"][1]


def test_a_part_that_breaks_the_look_at_it_does_not_hide_the_rest(broadsheet: Command) -> None:
    # A host name that no resolver can encode: what the client raises is no error of ours.
    found = lines_of(broadsheet("doctor", GRAFANA_URL="http://" + "x" * 70, GRAFANA_TOKEN="t"))
    assert list(found) == PARTS
    assert found["Grafana"][0] == "FAULT"
    assert (found["database"][0], found["browser"][0]) == ("OK", "OK")


def test_the_doctor_says_where_grafana_sends_it(broadsheet: Command, grafana: StandIn) -> None:
    grafana.faults.redirect("/api/health", "https://grafana.example.com/api/health")
    found = lines_of(broadsheet("doctor", GRAFANA_URL=grafana.url, GRAFANA_TOKEN=grafana.token))
    grafana.faults.clear()
    state, sentence = found["Grafana"]
    assert state == "FAULT"
    assert sentence == (
        f"What stands at {grafana.url} sends us on to https://grafana.example.com/api/health "
        "(302 to /api/health); check BROADSHEET_GRAFANA_URL."
    )


def test_the_doctor_says_that_the_schema_is_missing_and_how_to_make_it(
    broadsheet: Command, postgres_url: str
) -> None:
    # The server's own database, in which nobody has run `migrate`.
    found = lines_of(broadsheet("doctor", DATABASE_URL=postgres_url))
    assert found["database"][0] == "FAULT"
    assert "broadsheet migrate" in found["database"][1]


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("revoked", "BROADSHEET_GRAFANA_TOKEN"),
        ("other_org", "BROADSHEET_GRAFANA_ORG_ID"),
    ],
)
def test_the_doctor_says_what_is_wrong_with_a_token(
    broadsheet: Command, grafana: StandIn, label: str, words: str
) -> None:
    found = lines_of(
        broadsheet("doctor", GRAFANA_URL=grafana.url, GRAFANA_TOKEN=grafana.tokens[label])
    )
    assert found["token"][0] == "FAULT"
    assert words in found["token"][1]


def test_the_doctor_mentions_a_token_that_may_do_more_than_it_needs(
    broadsheet: Command, grafana: StandIn
) -> None:
    found = lines_of(
        broadsheet("doctor", GRAFANA_URL=grafana.url, GRAFANA_TOKEN=grafana.tokens["admin"])
    )
    assert found["token"][0] == "OK"
    assert "may also write" in found["token"][1]


def test_the_doctor_tries_the_store_of_documents(broadsheet: Command, seaweed: Seaweed) -> None:
    own = {name.removeprefix("BROADSHEET_"): value for name, value in seaweed.environ().items()}
    state, said = lines_of(broadsheet("doctor", **own))["store"]
    assert state == "OK"
    assert "Bucket documents can be written, read and deleted from." in said
    state, said = lines_of(broadsheet("doctor", **own | {"S3_BUCKET": "elsewhere"}))["store"]
    assert (state, "check BROADSHEET_S3_BUCKET" in said) == ("FAULT", True), said


def test_the_doctor_says_that_documents_cannot_be_read_without_their_bucket(
    broadsheet: Command, pool: db.Pool
) -> None:
    with db.transaction(pool) as conn:
        conn.execute("INSERT INTO stored VALUES ('s3', 3, 300, now()), ('postgres', 1, 10, now())")
    state, said = lines_of(broadsheet("doctor"))["store"]
    assert (state, "BROADSHEET_S3_BUCKET" in said) == ("FAULT", True)
    shown = broadsheet("documents", "show").stdout
    assert re.search(r"s3 +3 ", shown)
    assert re.search(r"s3 +3 ", broadsheet("status").stdout)


# documents


def test_files_are_moved_to_the_store_after_saying_how_many(
    broadsheet: Command, pool: db.Pool, seaweed: Seaweed
) -> None:
    own = {name.removeprefix("BROADSHEET_"): value for name, value in seaweed.environ().items()}
    own["S3_PREFIX"] = "moved/"
    ledger_of(pool, "sent")
    with db.transaction(pool) as conn:
        for number in range(3):
            documents.put(conn, 1, "pdf", f"{number}.pdf", bytes([number]) * 1_048_576)
    dry = broadsheet("documents", "move", "--to", "s3", "--dry-run", **own)
    assert dry.stdout == "3 files of 3.0 MB would be moved to s3.\n"
    for number in (3, 0):
        done = broadsheet("documents", "move", "--to", "s3", **own)
        assert done.stdout == f"{number} files of {number}.0 MB moved to s3.\n"
    with db.transaction(pool) as conn:
        assert documents.elsewhere(conn, "s3", after=0, limit=9) == []
        # As a restore of an older backup would.
        conn.execute("ALTER TABLE document DISABLE TRIGGER USER")
        conn.execute("DELETE FROM document WHERE name <> '1.pdf'")
        conn.execute("ALTER TABLE document ENABLE TRIGGER USER")
    assert len(broadsheet("documents", "unknown", **own).stdout.split()) == 2
    assert "2 objects deleted" in broadsheet("documents", "unknown", "--delete", **own).stderr
    assert broadsheet("documents", "unknown", **own).stdout == ""
    back = broadsheet("documents", "move", "--to", "postgres", **own | {"STORE": "postgres"})
    assert back.stdout == "1 files of 1.0 MB moved to postgres.\n"


def test_a_file_that_is_lost_is_named_and_keeps_no_other_from_being_moved(
    broadsheet: Command, pool: db.Pool, seaweed: Seaweed, environ: dict[str, str]
) -> None:
    own = seaweed.environ() | {"BROADSHEET_S3_PREFIX": "lost/"}
    in_s3 = Settings.from_environment(environ | own)
    ledger_of(pool, "sent")
    kept = Storage.from_settings(in_s3).keep(pool, [b"1", b"2", b"3"])
    with db.transaction(pool) as conn:
        for number, one in enumerate(kept):
            documents.put(conn, 1, "pdf", f"{number}.pdf", one)
    Bucket(in_s3).delete(kept[0].key or "")
    Bucket(in_s3).write(kept[1].key or "", b"x")
    words = {name.removeprefix("BROADSHEET_"): value for name, value in own.items()}
    done = broadsheet("documents", "move", "--to", "postgres", **words | {"STORE": "postgres"})
    assert (done.returncode, done.stdout) == (1, "1 files of 0.0 MB moved to postgres.\n")
    missing, damaged, summed = done.stderr.splitlines()
    assert "0.pdf" in missing
    assert "1.pdf" in damaged
    assert summed == "2 files could not be moved; see above."


def test_without_a_bucket_nothing_is_moved(broadsheet: Command) -> None:
    done = broadsheet("documents", "move", "--to", "s3")
    assert (done.returncode, done.stderr) == (2, "BROADSHEET_S3_BUCKET is not set.\n")


def test_a_restore_is_said_once_and_tried_first(broadsheet: Command, pool: db.Pool) -> None:
    ledger_of(pool, "sent", "sending")
    dry = broadsheet("restored", "--dry-run")
    assert dry.stdout.startswith("1 mails would be unknown; 0 runs would be ended;")
    assert broadsheet("restored").stdout.startswith("1 mails are unknown;")
    assert broadsheet("restored").stdout.startswith("0 mails are unknown;")
    assert "restored from a backup" in broadsheet("deliveries").stdout


def test_two_addresses_that_lead_to_two_databases_are_refused(
    broadsheet: Command, pool: db.Pool, environ: dict[str, str], postgres_url: str
) -> None:
    """After a restore into a new one, the old one would be settled by a forgotten variable."""
    ledger_of(pool, "sending")
    new, old = postgres_url, environ["BROADSHEET_DATABASE_URL"]
    for words in (("migrate",), ("restored",), ("restored", "--dry-run")):
        done = broadsheet(*words, DATABASE_URL=new, DATABASE_SESSION_URL=old)
        assert (done.returncode, done.stdout) == (2, "")
        assert "BROADSHEET_DATABASE_URL leads to" in done.stderr
        assert "BROADSHEET_DATABASE_SESSION_URL" in done.stderr
    state, said = lines_of(broadsheet("doctor", DATABASE_URL=new, DATABASE_SESSION_URL=old))[
        "database"
    ]
    assert (state, "BROADSHEET_DATABASE_SESSION_URL" in said) == ("FAULT", True)
    with db.transaction(pool) as conn:
        assert conn.execute("SELECT FROM restored").fetchall() == []
    assert broadsheet("restored", DATABASE_SESSION_URL=old).stdout.startswith("1 mails are unknown")


# render


def test_render_makes_a_pdf_without_database_or_queue(
    broadsheet: Command, grafana: StandIn, tmp_path: Path
) -> None:
    path = tmp_path / "shop.pdf"
    done = broadsheet(
        *("render", "shop", "-o", str(path), "--from", "now-2d", "--orientation", "landscape"),
        DATABASE_URL="",
        REDIS_URL="",
        GRAFANA_URL=grafana.url,
        GRAFANA_TOKEN=grafana.token,
    )
    assert done.returncode == 0, done.stderr
    assert f"{path}  " in done.stdout
    reader = pypdf.PdfReader(io.BytesIO(path.read_bytes()))
    page = reader.pages[0]
    assert page.mediabox.width > page.mediabox.height
    assert "Page 1 of" in page.extract_text()
    assert reader.metadata is not None
    assert reader.metadata.title == "Shop overview"


def test_render_says_what_is_missing_and_leaves_no_file(
    broadsheet: Command, grafana: StandIn, tmp_path: Path
) -> None:
    path = tmp_path / "none.pdf"
    words = ("render", "nowhere", "-o", str(path))
    unset = broadsheet(*words, GRAFANA_URL=grafana.url)
    unknown = broadsheet(*words, GRAFANA_URL=grafana.url, GRAFANA_TOKEN=grafana.token)

    assert (unset.returncode, unset.stderr) == (2, "BROADSHEET_GRAFANA_TOKEN is not set.\n")
    assert (unknown.returncode, unknown.stderr) == (1, "Dashboard not found: nowhere\n")
    assert not path.exists()


def test_render_refuses_a_variable_without_a_value(broadsheet: Command) -> None:
    done = broadsheet("render", "shop", "-o", "x.pdf", "--var", "region")
    assert done.returncode == 2
    assert "NAME=VALUE" in done.stderr


# deliveries, resolve


@pytest.fixture
def unknown(pool: db.Pool) -> int:
    """The delivery, of a run that ended, of which nobody knows whether it arrived."""
    new = runs.NewRun(
        org_id=1,
        report_id=None,
        report_revision=None,
        kind=runs.TEST,
        scheduled_for=dt.datetime(2026, 1, 5, 9, tzinfo=dt.UTC),
        spec=RunSpec(name="Weekly figures", dashboards=(DashboardSpec(uid="a"),)),
    )
    with db.transaction(pool) as conn:
        made = admission.insert(conn, new)
        assert made
        runs.start(conn, [made[0]])
        runs.rendered(conn, made[0], {"subject": "s"}, complete=True, milliseconds=1)
        deliveries.insert(conn, made[0], ("ann@example.org",), domain="d", lane="interactive")
        [entry] = deliveries.of_run(conn, made[0])
        conn.execute("DELETE FROM task WHERE delivery_id IS NOT NULL")
        deliveries.start(conn, entry.id, 1)
        deliveries.finish(conn, entry.id, "unknown", None, "no\nanswer")
        deliveries.settle_run(conn, made[0])
    return entry.id


def test_unknown_mails_are_listed(broadsheet: Command, unknown: int) -> None:
    done = broadsheet("deliveries")
    assert done.returncode == 0, done.stderr
    head, line = done.stdout.splitlines()
    assert head.split() == ["ID", "RUN", "SINCE", "RECIPIENT", "REPORT", "CAUSE"]
    assert line.startswith(f"{unknown} ")
    assert line.endswith("ann@example.org  Weekly figures  no answer")
    assert len(broadsheet("deliveries", "--state", "failed").stdout.splitlines()) == 1


def test_an_unknown_mail_is_resolved_once_and_it_is_noted_who_did(
    broadsheet: Command, unknown: int, pool: db.Pool
) -> None:
    done = broadsheet("resolve", str(unknown), "--again")
    assert done.stdout == "The mail to ann@example.org is sent again; run 1 is delivering.\n"
    with db.transaction(pool) as conn:
        [resolution] = resolutions.of_run(conn, 1)[unknown]
    assert (resolution.through, resolution.token_id) == ("command line", None)
    assert resolution.who == getpass.getuser()
    twice = broadsheet("resolve", str(unknown), "--sent")
    assert (twice.returncode, twice.stderr) == (
        1,
        f"Delivery {unknown} is not unknown (any more) but retry.\n",
    )


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("1",), 2),
        (("1", "--sent", "--again"), 2),
        (("x", "--sent"), 2),
        (("999", "--sent"), 1),
    ],
)
def test_a_resolution_that_makes_no_sense_is_refused(
    broadsheet: Command, words: tuple[str, ...], code: int
) -> None:
    assert broadsheet("resolve", *words).returncode == code


def test_a_delivery_that_is_no_number_is_refused_with_where_to_find_one(
    broadsheet: Command,
) -> None:
    said = broadsheet("resolve", "abc", "--sent").stderr
    assert "not 'abc'" in said
    assert "`broadsheet deliveries`" in said


def test_the_doctor_has_the_browser_print_a_page(broadsheet: Command, tmp_path: Path) -> None:
    # It tells its version, as a browser without its libraries or its rights may.
    program = tmp_path / "chromium"
    program.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Chromium 1.2.3 || exit 9\n')
    program.chmod(0o755)
    state, said = lines_of(broadsheet("doctor", CHROMIUM=str(program)))["browser"]
    assert state == "FAULT"
    assert "Chromium 1.2.3" in said
    assert "does not print a page" in said


def test_the_doctor_says_that_mails_wait(
    broadsheet: Command, pool: db.Pool, tmp_path: Path
) -> None:
    with Inbox(tmp_path) as inbox:
        for _ in range(mail_server.FAILURES):
            with db.transaction(pool) as conn:
                mail_server.change(
                    conn,
                    f"127.0.0.1:{inbox.port}",
                    lambda server, now: server.failed(now, "refused", configuration=False),
                )
        done = broadsheet("doctor", SMTP_HOST="127.0.0.1", SMTP_PORT=str(inbox.port))
    sound, sentence = lines_of(done)["mail server"]
    assert sound == "OK"
    assert "answers" in sentence
    assert "Mails wait, because 5 connections in a row failed" in sentence


# runs, retry, cancel


def test_runs_are_listed_with_what_went_wrong(broadsheet: Command, unknown: int) -> None:
    done = broadsheet("runs", "--state", "failed")
    head, line = done.stdout.splitlines()
    assert head.split() == ["ID", "ORG", "REPORT", "KIND", "FOR", "STATE", "ENDED", "CAUSE"]
    assert line.startswith("1   1")
    assert "Weekly figures" in line
    assert len(broadsheet("runs", "--stuck").stdout.splitlines()) == 1
    wrong = broadsheet("runs", "--since", "yesterday")
    assert (wrong.returncode, "--since wants 30m" in wrong.stderr) == (2, True)


def test_failed_runs_are_taken_up_again_and_it_is_noted_who_did(
    broadsheet: Command, unknown: int, pool: db.Pool
) -> None:
    with db.transaction(pool) as conn:
        conn.execute("UPDATE delivery SET state = 'failed'")
    dry = broadsheet("retry", "--state", "failed", "--dry-run")
    assert dry.stdout == "Run 1: 1 failed mails, each would be sent again.\n"
    done = broadsheet("retry", "1")
    assert (done.returncode, done.stdout) == (0, "Run 1: 1 failed mails, each is sent again.\n")
    twice = broadsheet("retry", "1")
    assert (twice.returncode, twice.stderr[:21]) == (1, "Run 1: It is deliveri")
    with db.transaction(pool) as conn:
        [record] = audit.find(conn, org_id=1, limit=10)
    assert (record.action, record.run_id) == ("runs:retry", 1)
    assert record.who == f"terminal:{getpass.getuser()}"
    assert broadsheet("retry", "one").returncode == 2
    assert broadsheet("retry").returncode == 2


def test_waiting_runs_are_cancelled(broadsheet: Command, pool: db.Pool) -> None:
    new = runs.NewRun(
        org_id=1,
        report_id=None,
        report_revision=None,
        kind=runs.TEST,
        scheduled_for=dt.datetime(2026, 1, 5, 9, tzinfo=dt.UTC),
        spec=RunSpec(name="Weekly figures", dashboards=(DashboardSpec(uid="a"),)),
    )
    with db.transaction(pool) as conn:
        for minute in range(12):
            later = new.scheduled_for + dt.timedelta(minutes=minute)
            assert admission.insert(conn, dataclasses.replace(new, scheduled_for=later))
    assert broadsheet("cancel", "--all", "--dry-run").stdout.count("would be cancelled") == 12
    many = broadsheet("cancel", "--all")
    assert (many.returncode, "--yes" in many.stderr) == (1, True)
    assert broadsheet("cancel", "3").stdout == "Run 3 is cancelled.\n"
    assert broadsheet("cancel", "--all", "--yes").stdout.count("is cancelled") == 11
    again = broadsheet("cancel", "3")
    assert (again.returncode, again.stderr) == (
        1,
        "Run 3 is cancelled and cannot be cancelled.\n",
    )


def test_the_forecast_says_what_is_due_and_how_many_workers_it_takes(
    broadsheet: Command, pool: db.Pool
) -> None:
    nothing = broadsheet("forecast")
    assert (nothing.returncode, nothing.stdout) == (0, "Nothing is due in the next 7 days.\n")
    with db.transaction(pool) as conn:
        for number in range(30):
            reports.insert(conn, hourly(number))
    done = broadsheet("forecast", "--days", "1", "--within", "30m", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert "each is taken for 3.0 s" in done.stderr
    assert "In 1 days: 720 runs, 720 captures" in done.stdout
    assert "1 worker: nothing waits longer than 2 min" in done.stdout
    for wrong in (("--within", "soon"), ("--time-zone", "Mars"), ("--days", "0")):
        assert broadsheet("forecast", *wrong).returncode == 2


def hourly(number: int) -> reports.Report:
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    return reports.Report(
        uid=f"u{number}",
        org_id=1,
        user_id=0,
        name=f"Report {number}",
        state="scheduled",
        schedule=Schedule(frequency="hourly", start=now, time_zone="UTC"),
        dashboards=[{"dashboard": {"uid": f"d{number}"}, "timeRange": {}, "reportVariables": {}}],
        formats=["pdf"],
        created=now,
        updated=now,
        next_run_at=now,
    )


# status


@pytest.fixture
def everybody(pool: db.Pool) -> None:
    """A beat and workers for each queue are there."""
    with db.transaction(pool) as conn:
        presence.renew(conn, Process(name="a:1", role="beat", version="1"))
        for number in range(3):
            presence.renew(
                conn,
                Process(name=f"b:{number}", role="worker", queues=["render"], version="1"),
            )
        presence.renew(conn, Process(name="c:1", role="worker", queues=["deliver"], version="1"))


def test_the_status_says_what_is_amiss_and_what_to_do(
    broadsheet: Command, unknown: int, pool: db.Pool
) -> None:
    done = broadsheet("status")
    assert done.returncode == 1
    for words in (
        "! No beat is there: nothing that is due begins. Start one.",
        "! No worker listens to the queue deliver. Start one with -Q deliver.",
        "! No worker listens to the queue render. Start one with -Q render.",
        "! Of 1 mails nobody knows whether they arrived: `broadsheet deliveries`",
        "Nothing is scheduled.",
        "Weekly figures",
    ):
        assert words in done.stdout, done.stdout


def test_a_slot_that_did_not_go_out_is_amiss_for_a_day(
    broadsheet: Command, everybody: None, pool: db.Pool
) -> None:
    with db.transaction(pool) as conn:
        later = dataclasses.replace(hourly(1), next_run_at=db.clock(conn) + HOUR)
        report_id = reports.insert(conn, later)
        conn.execute(
            "INSERT INTO run (org_id, report_id, kind, scheduled_for, state, cause, finished_at) "
            "SELECT 1, %s, 'schedule', now() - age, 'failed', 'Why', now() - age "
            "  FROM unnest(ARRAY[interval '2 hours', interval '25 hours']) AS age",
            [report_id],
        )
    done = broadsheet("status")
    assert done.returncode == 1
    (amiss,) = [line for line in done.stdout.splitlines() if line.startswith("!")]
    assert amiss == (
        "! Slots of the last 24 hours that did not go out to everybody: 1 failed. "
        "`broadsheet runs --state failed`, then `broadsheet retry`."
    )
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["slots", "0", "0", "1", "0", "0", "0"] in rows


def test_the_status_of_a_sound_service_is_0_and_names_pools_and_what_comes(
    broadsheet: Command, everybody: None, pool: db.Pool
) -> None:
    with db.transaction(pool) as conn:
        reports.insert(conn, dataclasses.replace(hourly(1), next_run_at=db.clock(conn) + HOUR))
    done = broadsheet("status")
    assert done.returncode == 0, done.stdout
    assert "Nothing is amiss." in done.stdout
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["worker", "render", "3", "0", "1", "1"] in rows
    assert ["beat", "1", "0", "1", "1"] in rows
    assert rows[-1][2:] == ["60", "min", "1", "1", "Report", "1"]


@pytest.mark.parametrize("words", [("status",), ("runs",), ("deliveries",)])
def test_before_migrate_every_command_says_what_to_run(
    broadsheet: Command, database_url: str, words: tuple[str, ...]
) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    done = broadsheet(*words)
    assert done.returncode == 1
    assert "run `broadsheet migrate`" in done.stderr
    assert "Traceback" not in done.stderr
