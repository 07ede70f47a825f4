"""The demo: one report, from the API call to the mail that arrives, told stage by stage.

It is an ordinary client: what it knows, it has from the REST API and from the mail itself.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx

from deploy.local.stack import Stack
from shared.errors import Permanent

#: What the demo shows of the stand-in.
STAND_IN_DASHBOARDS = ("shop", "orders", "nodes")
#: Of a Grafana with many dashboards, so many.
FEW = 3
#: The slot lies so far ahead that beat, not the API, sets the run off.
LEAD = dt.timedelta(seconds=2)
RUN_TIMEOUT = 300.0
LOOK = 0.1
RECIPIENTS = "ada@example.com,grace@example.com"
FINAL = ("sent", "partial", "failed", "missed", "skipped", "cancelled")
#: The stages of a capture, in their order; a stage that was not asked for is left out.
LAPS = ("preflight", "browser", "open", "ready", "csv", "image", "pdf")
WIDTH = 78


class DemoFailed(Permanent):
    """The demo's report did not arrive."""


def run(folder: Path) -> int:
    """Run the demo, leave its files in `folder`/demo, and return the exit code.

    Raises `DemoFailed` with the cause, `ProcessFault` or another `BroadsheetError`.
    """
    results = folder / "demo"
    shutil.rmtree(results, ignore_errors=True)
    results.mkdir(parents=True)
    print("Starting Broadsheet on this machine …", flush=True)
    with Stack(results / "log") as stack, _client(stack) as api:
        print(f"{_where(stack)}\nReady after {stack.started_in:.1f} s.\n", flush=True)
        report_id, slot = _create(api, _dashboards(stack))
        run = _finished(stack, api, report_id)
        pictures = _documents(api, run, results)
        letter, mail = _mail(stack, run, results)
    if run["state"] != "sent":
        raise DemoFailed(f"The run is {run['state']}: {run['cause']}\nLogs: {results / 'log'}")
    print("\n".join(_told(run, slot, letter, mail, pictures)))
    return 0


def _client(stack: Stack) -> httpx.Client:
    return httpx.Client(
        base_url=stack.api_url, headers={"Authorization": f"Bearer {stack.token}"}, timeout=30
    )


def _where(stack: Stack) -> str:
    if stack.has_stand_in:
        return "Dashboards come from the stand-in for Grafana that belongs to the demo."
    return f"Dashboards come from {stack.grafana_url}."


def _dashboards(stack: Stack) -> Sequence[str]:
    """Return the uids of what to report on: as DEMO_DASHBOARDS says, or the first few there are."""
    chosen = os.environ.get("DEMO_DASHBOARDS", "")
    if chosen:
        return [uid.strip() for uid in chosen.split(",") if uid.strip()]
    if stack.has_stand_in:
        return STAND_IN_DASHBOARDS
    found = httpx.get(
        f"{stack.grafana_url}/api/search",
        params={"type": "dash-db", "limit": FEW},
        headers={"Authorization": f"Bearer {stack.grafana_token}"},
        timeout=30,
    )
    uids = [str(hit["uid"]) for hit in _asked(found)]
    if not uids:
        raise DemoFailed(
            "The token sees no dashboard. Give its service account the role Viewer, or the right "
            "to a folder; or name dashboards: DEMO_DASHBOARDS=uid1,uid2 make demo"
        )
    return uids


def _create(api: httpx.Client, uids: Sequence[str]) -> tuple[int, dt.datetime]:
    """Create the report; return its id and its slot."""
    slot = (dt.datetime.now(dt.UTC) + LEAD).replace(microsecond=0)
    body = {
        "name": "Broadsheet demo",
        "recipients": RECIPIENTS,
        "replyTo": "reports@example.com",
        "message": "Good morning,\nthese are the figures. The pages are attached.",
        "schedule": {"frequency": "once", "startDate": slot.isoformat(), "timeZone": "UTC"},
        "options": {"orientation": "portrait", "layout": "grid", "pdfCombineOneFile": True},
        "formats": ["pdf", "csv"],
        "enableDashboardUrl": True,
        "dashboards": [{"dashboard": {"uid": uid}} for uid in uids],
    }
    answer = _asked(api.post("/api/reports", json=body))
    print(f"POST /api/reports → {answer['message']}, number {answer['id']}")
    print(f"It is due once, at {slot:%H:%M:%S} UTC. Waiting for beat, workers and mail …\n")
    return int(answer["id"]), slot


def _finished(stack: Stack, api: httpx.Client, report_id: int) -> dict[str, Any]:
    """Wait until the report's run has ended; return it with captures, deliveries, documents."""
    deadline = time.monotonic() + RUN_TIMEOUT
    while time.monotonic() < deadline:
        stack.check()
        runs = _asked(api.get(f"/api/reports/{report_id}/runs"))
        if runs and runs[0]["state"] in FINAL:
            found: dict[str, Any] = _asked(api.get(f"/api/reports/runs/{runs[0]['id']}"))
            return found
        time.sleep(LOOK)
    raise DemoFailed(f"The run has not ended after {RUN_TIMEOUT:.0f} s. Logs: {stack.logs}")


def _documents(api: httpx.Client, run: Mapping[str, Any], folder: Path) -> list[Path]:
    """Fetch the run's PDF files by API and return where they are now."""
    kept = []
    for document in run["documents"]:
        if document["kind"] == "pdf":
            kept.append(folder / document["name"])
            kept[-1].write_bytes(api.get(document["href"]).raise_for_status().content)
    return kept


def _mail(stack: Stack, run: Mapping[str, Any], folder: Path) -> tuple[Path | None, EmailMessage]:
    """Fetch the first mail from the inbox, as it came over the wire."""
    listed = httpx.get(f"{stack.inbox_url}messages.json", timeout=30).raise_for_status().json()
    if not listed:
        return None, EmailMessage()
    raw = httpx.get(f"{stack.inbox_url}messages/{listed[0]['number']}/raw", timeout=30)
    path = folder / f"run-{run['id']}.eml"
    path.write_bytes(raw.raise_for_status().content)
    message = message_from_bytes(path.read_bytes(), policy=policy.default)
    assert isinstance(message, EmailMessage)  # noqa: S101 - the default policy makes these
    return path, message


def _asked(answer: httpx.Response) -> Any:
    """Return the answer's body, or raise `DemoFailed` with what the API said."""
    body = answer.json()
    if answer.is_error:
        message = body.get("message", "") if isinstance(body, dict) else body
        raise DemoFailed(f"{answer.request.method} {answer.request.url.path}: {message}")
    return body


# -- how it is told ---------------------------------------------------------------------------


def _told(
    run: Mapping[str, Any],
    slot: dt.datetime,
    letter: Path | None,
    mail: EmailMessage,
    pages: Sequence[Path],
) -> Iterator[str]:
    yield from _mail_told(mail, letter, len(run["deliveries"]))
    yield from _verdicts_told(run["captures"])
    yield from _times_told(run, slot)
    yield _rule("The document")
    for path in pages:
        yield f"  {_shown(path)}  ({_size(path.stat().st_size)})"
    yield ""


def _mail_told(mail: EmailMessage, path: Path | None, count: int) -> Iterator[str]:
    yield _rule("The mail, as received" + (f" (one of {count})" if count > 1 else ""))
    for name in ("From", "To", "Reply-To", "Subject", "Date"):
        if mail[name]:
            yield f"  {name + ':':<10}{mail[name]}"
    yield ""
    body = mail.get_body(("plain",))
    for line in str(body.get_content() if body else "").rstrip().splitlines():
        yield f"  │ {line}".rstrip()
    yield ""
    for part in mail.iter_attachments():
        content = part.get_payload(decode=True)
        size = _size(len(content)) if isinstance(content, bytes) else ""
        yield f"  + {part.get_filename() or part.get_content_type():<44} {size:>9}"
    if path:
        yield f"  {_shown(path)}"
    yield ""


def _verdicts_told(captures: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield _rule("What the dashboards showed")
    for capture in captures:
        verdict = capture["verdict"]
        counts = [f"{number} {state}" for state, number in verdict["counts"].items() if number]
        yield f"  {capture['dashboard']['name']:<34} {', '.join(counts) or 'no panels'}"
        for panel in verdict["panels"]:
            if panel["state"] != "ok":
                cause = f": {panel['message']}" if panel["message"] else ""
                line = f"{panel['title'] or panel['key']} – {panel['state']}{cause}"
                yield "      ! " + textwrap.shorten(line, WIDTH - 8, placeholder=" …")
    yield ""


def _times_told(run: Mapping[str, Any], slot: dt.datetime) -> Iterator[str]:
    stages = run["stages"]
    created, finished = (dt.datetime.fromisoformat(run[name]) for name in ("created", "finished"))
    yield _rule("The time it took")
    yield _time("slot → run, by beat", (created - slot).total_seconds() * 1000)
    yield _time("run → first worker", stages["queued"])
    yield _time(f"{len(run['captures'])} captures, side by side", stages["rendering"])
    for capture in run["captures"]:
        laps = [
            f"{stage} {capture['stages'][stage]}" for stage in LAPS if stage in capture["stages"]
        ]
        yield f"      {capture['dashboard']['name']:<24} {', '.join(laps)}"
    yield _time("assembly", stages["assemble"])
    yield _time(f"{len(run['deliveries'])} mails", stages["delivering"])
    yield _time("slot → sent", (finished - slot).total_seconds() * 1000)
    yield ""


def _time(what: str, milliseconds: float | None) -> str:
    return f"  {what:<34} {(milliseconds or 0):>7,.0f} ms"


def _rule(title: str) -> str:
    return f"── {title} ".ljust(WIDTH, "─")


def _size(count: int) -> str:
    return f"{count / 1024:,.0f} kB" if count >= 1024 else f"{count} B"


def _shown(path: Path) -> str:
    """Return the path as a person would type it from where they are."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
