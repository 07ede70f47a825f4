"""The comparison at the end: what had to come, what the ledger says, what was on the wire.

Lost: an occurrence without a run, a run that has not ended, a mail that the ledger calls sent and
the wire never kept, or one that ended in a state that nothing on the wire explains. Double: two
mails kept for one run and recipient, or two runs for one occurrence.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.db import Connection
from tests.chaos.faults import Done
from tests.chaos.hands import Hands
from tests.chaos.load import Expected, Sending
from tests.chaos.wire import AMBIGUOUS, Try, Wire

#: What may part a worker from an answer that the server gave: the worker's end, or the database's.
CUTS = ("mail worker", "mail child", "Postgres")
#: Seconds around a try in which such a fault explains it. Locks, restarts and leases take a while.
AROUND = 8.0
PERMANENT = ("550 at rcpt", "552 after dot")

DELIVERIES = """
SELECT run.id AS run_id, run.state AS run_state, recipient, delivery.state, message_id, smtp_code,
       delivery.cause, kind, scheduled_for, delivery.id,
       ARRAY(SELECT verdict FROM resolution WHERE delivery_id = delivery.id ORDER BY id) AS resolved
  FROM delivery JOIN run ON run.id = delivery.run_id ORDER BY delivery.id
"""
RUNS = """
SELECT id, report_id, kind, scheduled_for, state, cause, created_at, finished_at,
       idempotency_key
  FROM run ORDER BY id
"""


@dataclass(slots=True)
class Verdict:
    """What was found; `lost` and `double` are sentences with ids, empty when all is well."""

    lost: list[str] = field(default_factory=list)
    double: list[str] = field(default_factory=list)
    #: Rows `unknown` that nothing ambiguous explains, and ambiguous mails without such a row.
    wrong: list[str] = field(default_factory=list)
    #: Lines of logs that say that something broke, which no fault explains.
    broke: list[str] = field(default_factory=list)
    #: Of reports that somebody changed: what became of their slots.
    changed: Counter[str] = field(default_factory=Counter)
    expected: int = 0
    on_the_wire: int = 0
    runs: Counter[str] = field(default_factory=Counter)
    deliveries: Counter[str] = field(default_factory=Counter)
    #: Of mails kept: seconds after the slot.
    delays: list[float] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)

    @property
    def good(self) -> bool:
        """Whether nothing was lost, doubled, or called by a wrong name."""
        return not (self.lost or self.double or self.wrong or self.broke)


def compare(
    conn: Connection,
    wire: Wire,
    faults: Sequence[Done],
    reports: Sequence[Expected],
    sendings: Sequence[Sending],
    hands: Hands,
) -> Verdict:
    """Compare all three, when nothing is open any more."""
    found = Verdict()
    runs = list(conn.execute(RUNS))
    entries = list(conn.execute(DELIVERIES))
    found.runs.update(f"{run['kind']} {run['state']}" for run in runs)
    found.deliveries.update(entry["state"] for entry in entries)
    tries: dict[str, list[Try]] = defaultdict(list)
    for one in wire.tries:
        tries[one.recipient].append(one)
    ledger: dict[int, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for entry in entries:
        ledger[entry["run_id"]][entry["recipient"]] = entry

    _check_resolved(found, hands, entries)
    found.wrong += [
        f"another organisation was answered {ask.status}: {ask}"
        for ask in hands.strangers
        if ask.status != 404 and not ask.doubtful
    ]
    for run, recipients in _wanted(found, runs, reports, sendings, hands, ledger):
        _check_run(found, run, recipients, ledger[run["id"]], tries, faults)
    _check_wire(found, wire, entries)
    return found


def _wanted(
    found: Verdict,
    runs: Sequence[Mapping[str, Any]],
    reports: Sequence[Expected],
    sendings: Sequence[Sending],
    hands: Hands,
    ledger: Mapping[int, Mapping[str, Any]],
) -> list[tuple[Mapping[str, Any], tuple[str, ...]]]:
    """Return the run of each occurrence that had to be, having noted those that have not one."""
    by_slot: dict[tuple[int, dt.datetime], list[Mapping[str, Any]]] = defaultdict(list)
    by_key: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for run in runs:
        if run["kind"] == "schedule":
            by_slot[run["report_id"], run["scheduled_for"]].append(run)
        elif run["idempotency_key"]:
            by_key[run["idempotency_key"]].append(run)
    wanted = []
    for report in reports:
        for slot in report.slots:
            name = f"report {report.report_id} at {slot:%H:%M:%S}"
            mine = by_slot.pop((report.report_id, slot), [])
            if report.act:
                wanted += _changed(found, name, mine, report, slot, hands, ledger)
            else:
                wanted += _only(found, name, mine, report)
    for sending in sendings:
        name = f"request {sending.key} (answers {sending.answers})"
        wanted += _only(found, name, by_key.pop(sending.key, []), sending)
    for left in (*by_slot.values(), *by_key.values()):
        found.double += [f"run {run['id']} of no occurrence: {run}" for run in left]
    return wanted


def _only(
    found: Verdict, name: str, runs: Sequence[Mapping[str, Any]], wanted: Expected | Sending
) -> list[tuple[Mapping[str, Any], tuple[str, ...]]]:
    found.expected += len(wanted.recipients)
    if not runs:
        found.lost.append(f"{name}: no run")
    if len(runs) > 1:
        found.double.append(f"{name}: runs {[run['id'] for run in runs]}")
    return [(run, wanted.recipients) for run in runs]


def _changed(
    found: Verdict,
    name: str,
    runs: Sequence[Mapping[str, Any]],
    report: Expected,
    slot: dt.datetime,
    hands: Hands,
    ledger: Mapping[int, Mapping[str, Any]],
) -> list[tuple[Mapping[str, Any], tuple[str, ...]]]:
    """Like `_only`, of a report that somebody edited, paused, or whose run somebody cancelled."""
    name = f"{report.act} of {name}"
    told = hands.asks[report.report_id]
    if not runs and report.act == "pause" and hands.may_lack_run(report, slot):
        found.changed["pause: no run"] += 1
        return []
    wanted = _only(found, name, runs, report)
    if len(runs) != 1:
        return wanted
    [run] = runs
    found.changed[f"{report.act}: {run['state']}"] += 1
    if run["state"] == "cancelled":
        if not hands.explains_cancelled(report, run):
            found.wrong.append(f"{name}: cancelled, and nobody asked for it: {told}")
        return wanted
    if hands.is_cancelled(report, run):
        found.wrong.append(f"{name}: {run['state']}, though its cancelling was answered: {told}")
    if run["state"] != "missed" and hands.must_lack_run(report, slot):
        found.wrong.append(f"{name}: {run['state']}, though its pausing was answered: {told}")
    if report.act != "edit" or run["id"] not in ledger:
        return wanted
    least, allowed = hands.versions(report, run)
    recipients = set(ledger[run["id"]])
    for version in allowed:
        if recipients == set(report.of_version(version)):
            found.changed[f"edit: version {version}, {least} acknowledged"] += 1
            return [(run, report.of_version(version))]
    found.wrong.append(f"{name}: made for {recipients}, not of versions {allowed}: {told}")
    return []


def _check_resolved(found: Verdict, hands: Hands, entries: Sequence[Mapping[str, Any]]) -> None:
    """What somebody decided of an unknown mail is kept, and only what somebody asked for."""
    for entry in entries:
        asks = [ask for ask in hands.resolved if ask.number == entry["id"]]
        answered = [ask.verb for ask in asks if ask.done]
        name = f"delivery {entry['id']}, resolved as {entry['resolved']}"
        if Counter(answered) - Counter(entry["resolved"]):
            found.wrong.append(f"{name}: {answered} was answered")
        asked = Counter(ask.verb for ask in asks if ask.done or ask.doubtful)
        if Counter(entry["resolved"]) - asked:
            found.wrong.append(f"{name}: asked for was {asked}")


def _check_run(
    found: Verdict,
    run: Mapping[str, Any],
    recipients: Sequence[str],
    entries: Mapping[str, Mapping[str, Any]],
    tries: Mapping[str, Sequence[Try]],
    faults: Sequence[Done],
) -> None:
    name = f"run {run['id']}"
    if run["finished_at"] is None:
        found.lost.append(f"{name} has not ended: {run['state']}")
        return
    if not entries:
        # Nothing was to be mailed any more, and the row says why.
        # Whether a run may be cancelled was looked at before.
        if run["state"] not in ("failed", "missed", "skipped", "cancelled") or not run["cause"]:
            found.lost.append(f"{name}, {run['state']} without a mail: {run['cause']}")
        kept = [one for recipient in recipients for one in tries.get(recipient, ()) if one.kept_at]
        found.wrong += [f"{name} is {run['state']}, but a mail went out" for _ in kept]
        return
    for recipient in recipients:
        if recipient not in entries:
            found.lost.append(f"{name}, {recipient}: no entry in the ledger")
            continue
        mine = [one for one in tries.get(recipient, ()) if _is_of(one, entries[recipient])]
        _check_entry(found, run, entries[recipient], mine, faults)


def _is_of(one: Try, entry: Mapping[str, Any]) -> bool:
    """Whether a try is of this entry; those that broke off before their Message-ID may be."""
    return not one.message_id or one.message_id == entry["message_id"]


def _check_entry(
    found: Verdict,
    run: Mapping[str, Any],
    entry: Mapping[str, Any],
    tries: Sequence[Try],
    faults: Sequence[Done],
) -> None:
    name = f"run {run['id']}, {entry['recipient']} is {entry['state']}"
    kept = [one for one in tries if one.kept_at]
    found.on_the_wire += len(kept)
    found.delays += [one.kept_at - run["scheduled_for"].timestamp() for one in kept if one.kept_at]
    if len(kept) > 1 + entry["resolved"].count("again"):
        found.double.append(f"{name}, and {len(kept)} mails were kept: {tries}")
    ambiguous = [one for one in tries if one.mode in AMBIGUOUS and one.phase == "dot"]
    if len(ambiguous) > len(entry["resolved"]) and entry["state"] != "unknown":
        found.wrong.append(f"{name}, though no answer was given to its dot: {tries}")
    match entry["state"]:
        case "sent" if "sent" in entry["resolved"]:
            # As its recipient said, whom nobody asked here.
            pass
        case "sent":
            if not kept:
                found.lost.append(f"{name}, but no mail was kept: {tries}")
            elif kept[-1].code != 250:
                found.wrong.append(f"{name}, but its dot was not answered: {tries}")
        case "failed":
            refused = {one.code for one in tries if one.mode in PERMANENT and one.code}
            again = "again" in entry["resolved"]
            if (kept and not again) or entry["smtp_code"] not in refused:
                found.lost.append(f"{name} ({entry['cause']}), which nothing explains: {tries}")
        case "unknown":
            reason = _why_unknown(tries, faults)
            found.unknown[reason or "for no reason"] += 1
            if reason is None:
                found.wrong.append(f"{name} ({entry['cause']}), for no reason: {tries}")
        case _:
            found.lost.append(f"{name}: it is still open")


def _why_unknown(tries: Sequence[Try], faults: Sequence[Done]) -> str | None:
    """Say what kept the outcome of the last try from being known; None: nothing did."""
    last = tries[-1] if tries else None
    if last is None:
        return None
    if last.mode in AMBIGUOUS and last.phase == "dot":
        return last.mode
    if last.mode == "drop in body":
        # The line broke while the end was on its way; a client cannot always see that in time.
        return last.mode
    until = max(last.ended, last.begun) + AROUND
    for done in faults:
        cut = any(word in done.kind for word in CUTS)
        if cut and last.begun - AROUND <= done.at <= until and last.phase != "rcpt":
            return f"parted from the answer by {done.kind}"
    return None


def _check_wire(found: Verdict, wire: Wire, entries: Sequence[Mapping[str, Any]]) -> None:
    """Every mail kept must be in the ledger: what the ledger does not know, nobody can explain."""
    known = {(entry["message_id"], entry["recipient"]) for entry in entries}
    kept = Counter((one.message_id, one.recipient) for one in wire.tries if one.kept_at)
    for mail, count in kept.items():
        if mail not in known:
            found.double.append(f"{count} mails {mail} that the ledger does not know")
