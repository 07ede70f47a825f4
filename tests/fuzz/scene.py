"""Two organisations with something of everything, and callers of several kinds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from flask import Flask

from api.app import create_app
from shared import db, deliveries, documents, links, runs, tokens
from shared.settings import Settings
from tests.fakes import RecordingBell
from tests.integration.api.fakes import Caller, FakeGrafana, FakeWaiter, Person, report_body

#: Stands in everything that organisation 1 has, and in nothing that is asked.
CANARY = "canary-of-one"
KEY = b"k" * 32
#: The link to organisation 1's document that stands in a mail.
LINK = {
    "org": "1",
    "expires": "4102444800",
    "signature": links.signature(KEY, 1, 1, 4102444800),
}
#: An uploaded logo of each organisation.
IMAGES = {1: "1" * 32 + ".png", 2: "2" * 32 + ".png"}


@dataclass(frozen=True)
class Scene:
    """The app, and its callers by name: headers that each sends. `ours` may see the canary."""

    app: Flask
    callers: Mapping[str, Mapping[str, str]]
    ours: frozenset[str] = field(default=frozenset({"admin", "reader of one", "ann"}))


def build(settings: Settings, pool: db.Pool) -> Scene:
    """Fill a database that is migrated and empty."""
    # Else most of what is thrown would only be refused for coming so often.
    settings = replace(settings, rate_limit=None, auth_failure_limit=None)

    def work(run_id: int) -> bool:
        with db.transaction(pool) as conn:
            run = runs.get(conn, run_id)
            # An export is for whoever asks for it.
            ours = run is not None and run.org_id == 1 and run.kind != runs.EXPORT
            name = CANARY if ours else "a"
            documents.put(conn, run_id, "pdf", f"{name}.pdf", f"%PDF-1.7 {name}".encode())
            documents.put(conn, run_id, "csv", f"{name}.csv", f"{name}\n".encode())
            return runs.finish(conn, run_id, "sent")

    grafana = FakeGrafana()
    known = grafana.dashboard
    grafana.dashboard = lambda uid: known("x" if "0" not in uid else uid)  # type: ignore[method-assign]  # so that most uids that are made up exist
    grafana.accounts = {1, 2}
    grafana.people["Basic YW5uOmFubg=="] = Person(
        id=3, login="ann", roles={1: "Admin", 2: "Viewer"}
    )
    grafana.people["Bearer glsa_two"] = Person(
        home=2, page={"id": 9, "login": "sa-two", "orgId": 2, "orgRole": "Admin"}
    )
    app = create_app(
        settings, pool=pool, bell=RecordingBell(), grafana=grafana, waiter=FakeWaiter(work)
    )
    secrets = _tokens(pool)
    for name, secret, recipient in (
        ("admin", secrets["admin"], f"{CANARY}@example.org"),
        ("stranger", secrets["stranger"], "two@example.org"),
    ):
        _fill(app, pool, secret, name if name == "stranger" else CANARY, recipient)
    with db.transaction(pool) as conn:
        for org_id, name in IMAGES.items():
            content = CANARY if org_id == 1 else "two"
            conn.execute(
                "INSERT INTO logo_image (org_id, name, sha256, content) VALUES (%s, %s, '', %s)",
                [org_id, name, content.encode()],
            )
        conn.execute("INSERT INTO secret (name, value) VALUES (%s, %s)", [links.SECRET, KEY])
    shown = {name: {"Authorization": f"Bearer {secret}"} for name, secret in secrets.items()}
    return Scene(
        app,
        {
            **shown,
            "ann": {"Authorization": "Basic YW5uOmFubg=="},
            "ann as a viewer of two": {
                "Authorization": "Basic YW5uOmFubg==",
                "X-Grafana-Org-Id": "2",
            },
            "service account of two": {"Authorization": "Bearer glsa_two"},
            "nobody": {},
        },
    )


def _tokens(pool: db.Pool) -> dict[str, str]:
    made = {
        "admin": {"org_id": 1, "name": CANARY, "role": "Admin"},
        "stranger": {"org_id": 2, "name": "two", "role": "Admin"},
        "viewer": {"org_id": 1, "name": "viewer", "role": "Viewer"},
        "reader of one": {
            "org_id": 1,
            "name": "one",
            "permissions": {"reports:read": ["reports:id:1"], "reports:send": ["reports:id:1"]},
        },
    }
    with db.transaction(pool) as conn:
        return {name: tokens.create(conn, **how)[1] for name, how in made.items()}  # type: ignore[arg-type]  # a table of keywords


def _fill(app: Flask, pool: db.Pool, secret: str, name: str, recipient: str) -> None:
    """Give an organisation a report, settings, and a run whose mail is unknown."""
    admin = Caller(app.test_client(), secret)
    body = report_body(name=name, recipients=recipient, message=name)
    report_id = admin("POST", "/api/reports", body)[1]["id"]
    sent = {"id": report_id, "useEmailsFromReport": True}
    run_id = admin("POST", "/api/reports/email", sent)[1]["runId"]
    branding = {"emailFooterText": name, "emailFooterLink": "https://example.org"}
    assert admin("POST", "/api/reports/settings", {"branding": branding})[0] == 200
    with db.transaction(pool) as conn:
        # Nobody knows whether its mail arrived.
        deliveries.insert(conn, run_id, (recipient,), domain="example.org", lane="interactive")
        entry = deliveries.of_run(conn, run_id)[0]
        deliveries.start(conn, entry.id, 1)
        deliveries.finish(conn, entry.id, "unknown", None, name)
        conn.execute(
            "UPDATE run SET state = 'failed', cause = 'unknown', rendered_at = now(), mail = '{}' "
            "WHERE id = %s",
            [run_id],
        )
