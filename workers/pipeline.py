"""The story of a run, told by the three steps that workers take: render, assemble, deliver.

Each step takes a task by its id, commits, leaves the database to work, and stores what came of
it in one transaction that also ends the task and adds the next ones. A step that finds its task
gone or taken does nothing, so every message may arrive twice; a step that fails is tried again
or given up in `_setback`, the only place that decides so.
"""

from __future__ import annotations

import contextvars
import datetime as dt
import json
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from shared import (
    captures,
    db,
    deliveries,
    documents,
    domains,
    links,
    log,
    logo_images,
    mail_server,
    meters,
    queue,
    report_settings,
    runs,
    setbacks,
    tasks,
    traces,
)
from shared.captures import Capture
from shared.db import Connection, Pool
from shared.deliveries import Delivery
from shared.documents import Document, Kept
from shared.errors import BroadsheetError, DatabaseAway, LostLease, Transient
from shared.mail_server import Turn
from shared.queue import Bell
from shared.runs import Run
from shared.settings import Settings
from shared.spec import FAIL, CaptureSpec
from shared.storage import Storage
from shared.tasks import Claim, Ring
from workers import assemble as assembly
from workers import gate, letters, messages, retry, shrink
from workers.capture.request import Captured, CaptureRequest, InVain, Mark, Table
from workers.capture.verdict import Verdict
from workers.csv_files import csv_file
from workers.heartbeat import beating
from workers.logo import Logos
from workers.mail import (
    Accepted,
    Attachment,
    MailBusy,
    Mailer,
    MailRefused,
    MailStopped,
    MailUnknown,
)
from workers.messages import Letter, Letters, Links, Sheet

logger = log.get(__name__)

#: The event says that nobody needs it any more.
Renderer = Callable[[CaptureRequest, threading.Event], Captured]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """What the steps stand on. `owner` names this process in leases and logs."""

    settings: Settings
    pool: Pool
    bell: Bell
    render: Renderer
    print: assembly.Printer
    mailer: Mailer
    logos: Logos
    owner: str
    storage: Storage


# -- 1. render: one dashboard of a run ------------------------------------------------------


def render(task_id: int, deps: Deps) -> None:
    """Capture one dashboard and store it; runs that have all of theirs now go on to assembly."""
    claim = _take(task_id, "render", deps, most=deps.settings.grafana_captures)
    if claim is None:
        return
    with _setback(claim, deps):
        with db.transaction(deps.pool) as conn:
            sharing = setbacks.lock(conn, claim)
            capture = captures.get(conn, claim.capture_id or 0)
            if capture is None or not sharing:
                # Cancelled meanwhile. Were it left open, a run that joins it would wait in vain.
                tasks.complete(conn, claim)
                captures.failed(conn, claim.capture_id or 0, captures.UNWANTED)
                return
            runs.start(conn, list(sharing))
            captures.start(conn, capture.id, claim.attempt)
            branding = report_settings.get(conn, capture.org_id).body
        request = _request(capture.org_id, capture.spec, branding)
        traces.note(dashboard=request.uid)
        began = traces.now()
        try:
            with beating(deps.pool, claim) as in_vain:
                captured = deps.render(request, in_vain)
        except InVain:
            if _is_dropped(deps, claim, capture.id):
                return
            raise
        if capture.spec.on_incomplete == FAIL and not captured.verdict.complete:
            with db.transaction(deps.pool) as conn:
                setbacks.lock(conn, claim)
                _tell(conn, capture.id, captured)
            raise Incomplete.because(captured.verdict)
        with traces.span("store"):
            parts = _parts(captured)
            with beating(deps.pool, claim):
                kept = deps.storage.keep(deps.pool, [part.content for part in parts])
            laid = list(zip(parts, kept, strict=True))
            with db.transaction(deps.pool) as conn:
                sharing = setbacks.lock(conn, claim)
                rings = _store_capture(conn, claim, capture.id, captured, laid, sharing)
                spans = runs.traceparents(conn, list(sharing)) if traces.on() else {}
        traces.note(complete=captured.verdict.complete, stages=captured.timings)
        _tell_sharers(spans, capture, began)
        _measure(captured)
        logger.info(
            "capture.done",
            dashboard=request.uid,
            complete=captured.verdict.complete,
            runs=sorted(sharing),
            **captured.timings,
        )
        queue.announce(deps.pool, deps.bell, rings)


def _tell_sharers(spans: Mapping[int, str | None], capture: Capture, began: int) -> None:
    """Show the capture in the traces of the other runs that it is for, and lead to it from there.

    `spans` are what the runs began with, by their ids.
    """
    here = traces.here()
    for run_id, text in spans.items():
        if here is None or text is None or traces.are_of_one(here, text):
            continue
        with traces.span(
            "capture",
            within=traces.continued(text),
            links=[here],
            began=began,
            org=capture.org_id,
            run=run_id,
            capture=capture.id,
            dashboard=capture.spec.dashboard.uid,
            outcome="shared",
        ):
            pass


def _measure(captured: Captured) -> None:
    """Tell Prometheus how a capture went: its stages, panels and queries."""
    for stage, milliseconds in captured.timings.items():
        meters.observe("capture_stage_seconds", milliseconds / 1000, stage=stage)
    for panel in captured.verdict.panels:
        meters.count("capture_panels", state=panel.state)
    for query in captured.verdict.queries:
        meters.observe("grafana_request_seconds", query.milliseconds / 1000, status=query.status)


def _is_dropped(deps: Deps, claim: Claim, capture_id: int) -> bool:
    """End a capture that was broken off; False: a run has joined it after all.

    Raises `LostLease` where another worker has it.
    """
    with db.transaction(deps.pool) as conn:
        if setbacks.lock(conn, claim):
            return False
        tasks.complete(conn, claim)
        captures.failed(conn, capture_id, captures.UNWANTED)
    logger.info("capture.dropped")
    return True


#: How many panels a cause names.
NAMED = 10


class Incomplete(Transient):
    """A dashboard is not complete, and its report wants to fail then."""

    @classmethod
    def because(cls, verdict: Verdict) -> Incomplete:
        """Name what is amiss, the first of very many."""
        named = "; ".join(verdict.amiss[:NAMED])
        more = len(verdict.amiss) - NAMED
        return cls(
            f"Incomplete, and the report asks to fail then: {named}"
            + (f"; and {more:,} more" if more > 0 else "")
        )


def _request(org_id: int, spec: CaptureSpec, branding: Any) -> CaptureRequest:
    dashboard = spec.dashboard
    pdf_theme = _theme(branding.get("pdfTheme"), "light")
    image_theme = _theme(branding.get("embeddedImageTheme"), "dark")
    return CaptureRequest(
        uid=dashboard.uid,
        at=spec.at,
        org_id=org_id,
        time_from=dashboard.time_from,
        time_to=dashboard.time_to,
        time_zone=spec.time_zone,
        forced_time_zone=spec.content_time_zone,
        variables=dashboard.variables,
        formats=(*spec.formats, *(("csv",) if spec.tables else ())),
        orientation=spec.orientation,
        layout=spec.layout,
        theme=pdf_theme if "pdf" in spec.formats else image_theme,
        image_theme=image_theme,
        scale_factor=spec.scale_factor,
        timeout=spec.render_timeout,
        raw=spec.raw,
    )


def _theme(chosen: Any, otherwise: str) -> str:
    """Grafana's "current" theme is that of whoever looks; nobody does, so it is the default."""
    return chosen if chosen in ("light", "dark") else otherwise


def _tell(conn: Connection, capture_id: int, captured: Captured) -> None:
    """Keep what a capture found, for the history; the capture must be locked."""
    captures.told(
        conn,
        capture_id,
        facts=captured.facts.to_json(),
        verdict=captured.verdict.to_json(),
        timings=captured.timings,
    )


def _parts(captured: Captured) -> list[_File]:
    """Return the raw output that assembly joins."""
    title = captured.facts.title
    pdf = [_File("pdf", title, captured.pdf)] if captured.pdf is not None else []
    images = [_File("image", title, image) for image in captured.images]
    tables = [
        _File("table", table.title, json.dumps(table.to_json()).encode())
        for table in captured.tables
    ]
    return [*pdf, *images, *tables]


def _store_capture(
    conn: Connection,
    claim: Claim,
    capture_id: int,
    captured: Captured,
    parts: Iterable[tuple[_File, Kept]],
    sharing: Mapping[int, str],
) -> list[Ring]:
    """Store it, for the runs that share it, which are locked and given with their lanes."""
    tasks.complete(conn, claim)
    documents.drop_of_capture(conn, capture_id)
    for part, kept in parts:
        documents.put_part(conn, capture_id, part.kind, part.name, kept)
    _tell(conn, capture_id, captured)
    captures.done(conn, capture_id)
    # Those that joined while it was rendered have not begun yet.
    runs.start(conn, list(sharing))
    ready = runs.captured_among(conn, list(sharing))
    return tasks.insert_assemblies(conn, {run_id: sharing[run_id] for run_id in ready})


# -- 2. assemble: the captures of a run become documents and a letter -----------------------


def assemble(task_id: int, deps: Deps) -> None:
    """Join the pages, write the letter, and add a delivery per recipient."""
    claim = _take(task_id, "assemble", deps)
    if claim is None:
        return
    with _setback(claim, deps):
        began = time.monotonic()
        with db.transaction(deps.pool) as conn:
            run = _run_of(conn, claim)
            runs.start(conn, [run.id])
            done = captures.of_run(conn, run.id)
            raw = {capture.id: documents.parts(conn, capture.id) for capture in done}
            branding = report_settings.get(conn, run.org_id).body
            room = _room(conn, deps.settings)
        now = dt.datetime.now(dt.UTC)
        with beating(deps.pool, claim):
            parts = {capture_id: _contents(deps, found) for capture_id, found in raw.items()}
            branding = deps.logos.found(
                branding, org_id=run.org_id, look=partial(_uploaded, deps.pool, run.org_id)
            )
            with traces.span("make documents"):
                files = _files(run, done, parts, branding, now, deps.print)
            if run.spec.recipients:
                files = shrink.to_fit(files, room)
            size = sum(len(file.content) for file in files)
            with traces.span("store", documents=len(files), size=size):
                kept = deps.storage.keep(deps.pool, [file.content for file in files])
        with db.transaction(deps.pool) as conn:
            laid = list(zip(files, kept, strict=True))
            rings = _store_documents(conn, claim, run, done, laid, branding, now, began, deps)
        logger.info("run.assembled", documents=len(files))
        queue.announce(deps.pool, deps.bell, rings)


def _room(conn: Connection, settings: Settings) -> int:
    """Return how many bytes the files of a mail may have, as far as that is known."""
    limit = settings.max_attachment_size_mb * 1024 * 1024
    server = mail_server.get(conn, mail_server.name_of(settings))
    return min(limit, max(0, server.size_limit - letters.REST)) if server.size_limit else limit


def _uploaded(pool: Pool, org_id: int, name: str) -> bytes | None:
    """Return an uploaded logo of the organisation whose report it is, and of no other."""
    with db.transaction(pool) as conn:
        return logo_images.content(conn, org_id, name)


@dataclass(frozen=True, slots=True)
class _File:
    """A document to be; `position` is its dashboard's, None for one of several."""

    kind: str
    name: str
    content: bytes
    position: int | None = None


def _contents(deps: Deps, parts: list[Document]) -> list[tuple[Document, bytes]]:
    read = deps.storage.contents(partial(db.transaction, deps.pool), parts)
    return list(zip(parts, read, strict=True))


def _files(
    run: Run,
    done: list[Capture],
    parts: dict[int, list[tuple[Document, bytes]]],
    branding: Any,
    now: dt.datetime,
    print_html: assembly.Printer,
) -> list[_File]:
    """Make the documents: the PDF (or one per dashboard), then images, then tables."""
    spec = run.spec
    letterhead = assembly.Letterhead.from_settings(
        branding, report=spec.name, made=now, show_variables=spec.show_variables
    )
    tables = {
        capture.id: [
            Table.from_json(json.loads(content))
            for part, content in parts[capture.id]
            if part.kind == "table"
        ]
        for capture in done
    }
    chapters = [
        (
            position,
            _chapter(
                capture,
                content,
                tables[capture.id] if spec.table_appendix else [],
                with_csv="csv" in spec.formats,
            ),
        )
        for position, capture in enumerate(done)
        for part, content in parts[capture.id]
        if part.kind == "pdf"
    ]
    files: list[_File] = []
    if chapters and (spec.combine or len(chapters) == 1):
        name = documents.stem(spec.name, run.scheduled_for)
        pdf = assembly.pdf([chapter for _, chapter in chapters], letterhead, print_html)
        files.append(_File("pdf", f"{name}.pdf", pdf))
    else:
        for position, chapter in chapters:
            name = documents.stem(chapter.title, run.scheduled_for)
            pdf = assembly.pdf([chapter], letterhead, print_html)
            files.append(_File("pdf", f"{name}.pdf", pdf, position))
    for position, capture in enumerate(done):
        name = documents.stem(capture.facts["title"], run.scheduled_for)
        files += [
            _File("image", f"{name}.png", content, position)
            for part, content in parts[capture.id]
            if part.kind == "image"
        ]
    if "csv" in spec.formats:
        for position, capture in enumerate(done):
            for table in tables[capture.id]:
                title = " - ".join(part for part in (capture.facts["title"], table.title) if part)
                content = csv_file(
                    table, raw=spec.csv_raw, guard=spec.csv_guard, encoding=spec.csv_encoding
                )
                name = f"{documents.stem(title, run.scheduled_for)}.csv"
                files.append(_File("csv", name, content, position))
    return _distinct(files)


def _distinct(files: list[_File]) -> list[_File]:
    """Number the names that occur twice: a mail with two files of one name loses one of them.

    Names that differ in capitals only are one file on many machines.
    """
    taken: set[str] = set()
    counts: dict[str, int] = {}
    result = []
    for file in files:
        name, alike = file.name, documents.same(file.name)
        stem, _, suffix = file.name.rpartition(".")
        while documents.same(name) in taken:
            counts[alike] = counts.get(alike, 1) + 1
            name = f"{stem}-{counts[alike]}.{suffix}"
        taken.add(documents.same(name))
        result.append(replace(file, name=name))
    return result


def _chapter(
    capture: Capture, content: bytes, tables: list[Table], *, with_csv: bool
) -> assembly.Chapter:
    facts = capture.facts
    return assembly.Chapter(
        pdf=content,
        title=facts["title"],
        time_from=dt.datetime.fromisoformat(facts["from"]),
        time_to=dt.datetime.fromisoformat(facts["to"]),
        time_zone=facts["timeZone"],
        variables=facts["variables"],
        notes=_verdict(capture).amiss,
        theme=facts.get("theme", "light"),
        outline=[Mark(**mark) for mark in facts.get("panels", ())],
        tables=tables,
        with_csv=with_csv,
    )


def _verdict(capture: Capture) -> Verdict:
    return Verdict.from_json(capture.verdict or {})


def _store_documents(
    conn: Connection,
    claim: Claim,
    run: Run,
    done: list[Capture],
    laid: list[tuple[_File, Kept]],
    branding: Any,
    now: dt.datetime,
    began: float,
    deps: Deps,
) -> list[Ring]:
    captures.lock_of_run(conn, run.id)
    runs.lock(conn, run.id)
    tasks.complete(conn, claim)
    pictures: dict[int, int] = {}
    contents: dict[int, bytes] = {}
    for file, kept in laid:
        made = documents.put(conn, run.id, file.kind, file.name, kept)
        contents[made] = file.content
        if file.kind == "image" and file.position is not None:
            pictures[made] = file.position
    documents.drop_parts(conn, run.id)
    settings = deps.settings
    stored = documents.of_run(conn, run.id)
    written = letters.write(
        partial(
            messages.compose,
            replace(run.spec, late=run.spec.late or _is_late(run, now)),
            [_mail_sheet(capture) for capture in done],
            stored,
            pictures=pictures,
            branding=branding.get("branding") or {},
            slot=run.scheduled_for,
            now=now,
            grafana_public_url=settings.grafana_public_url or settings.grafana_url,
            links=_links(conn, settings, run.org_id, stored, now),
        ),
        stored,
        limit=settings.max_attachment_size_mb * 1024 * 1024,
        server_limit=mail_server.get(conn, mail_server.name_of(settings)).size_limit,
        measure=lambda letter: _measured(run, letter, stored, contents, deps.mailer),
    )
    milliseconds = (time.monotonic() - began) * 1000
    complete = all(_verdict(capture).complete for capture in done)
    if not runs.rendered(
        conn, run.id, written.to_json(), complete=complete, milliseconds=milliseconds
    ):
        raise LostLease
    domain = settings.smtp_from.rpartition("@")[2].strip(" >") or "localhost"
    rings = deliveries.insert(
        conn,
        run.id,
        run.spec.recipients,
        domain=domain,
        lane=claim.lane,
        attached=written.attached,
    )
    if not run.spec.recipients:
        # An export: whoever asked for it fetches the documents.
        deliveries.settle_run(conn, run.id)
    return rings


#: A run of the schedule that takes so long from when it might have begun says so in its mail.
LATE = dt.timedelta(minutes=15)


def _is_late(run: Run, now: dt.datetime) -> bool:
    return run.kind == runs.SCHEDULE and now - run.not_before > LATE


def _links(
    conn: Connection, settings: Settings, org_id: int, stored: list[Document], now: dt.datetime
) -> Links | None:
    """Sign links for what may not travel in the mail; None: readers cannot reach our API."""
    if not settings.public_url:
        return None
    key = links.keys(conn, settings)[0]
    until = now + dt.timedelta(days=settings.link_days)
    return Links(
        addresses={
            document.id: links.address(settings.public_url, key, org_id, document.id, until)
            for document in stored
        },
        until=until,
    )


#: As long as an address may be, so that no recipient's mail is longer than what was measured.
LONGEST_ADDRESS = f"{'x' * 64}@{'x' * 60}.{'x' * 60}.{'x' * 60}.example"


def _measured(
    run: Run,
    letter: Letter,
    stored: list[Document],
    contents: Mapping[int, bytes],
    mailer: Mailer,
) -> int:
    """Return how many bytes the mail has on the wire."""
    try:
        mail = mailer.build(
            letter,
            recipient=LONGEST_ADDRESS,
            message_id=deliveries.message_id(run.id, LONGEST_ADDRESS, LONGEST_ADDRESS),
            attachments=_attachments(letter, stored, contents),
        )
    except MailRefused:
        # An address to reply to that is none. Each delivery will fail for it, and say so.
        return 0
    return len(mail)


def _mail_sheet(capture: Capture) -> Sheet:
    facts = capture.facts
    return Sheet(
        uid=facts["uid"],
        title=facts["title"],
        url_path=facts["path"],
        time_from=dt.datetime.fromisoformat(facts["from"]),
        time_to=dt.datetime.fromisoformat(facts["to"]),
        time_zone=facts["timeZone"],
        panels=tuple(panel.title for panel in _verdict(capture).panels if panel.title),
        notes=_verdict(capture).notes,
        remarks=_verdict(capture).remarks,
    )


# -- 3. deliver: one mail to one recipient --------------------------------------------------


def deliver(task_id: int, deps: Deps) -> None:
    """Send one mail, and never twice: `dot` is committed before the server may accept it."""
    claim = _take(task_id, "deliver", deps)
    if claim is None:
        return
    with _setback(claim, deps):
        delivery = _open_delivery(deps, claim)
        if delivery is not None:
            # As the history counts, which leaves out what the mail server was at fault for.
            traces.note(attempt=delivery.attempts + 1)
            with log.bind(attempt=delivery.attempts + 1):
                _deliver(deps, claim, delivery)


def _deliver(deps: Deps, claim: Claim, delivery: Delivery) -> None:
    if not domains.is_allowed(delivery.recipient, deps.settings.allowed_domains):
        # It was when the report was saved. Here is the last look before the mail server.
        _finish_delivery(deps, claim, "failed", None, NOT_ALLOWED)
        return
    try:
        with beating(deps.pool, claim):
            # Before anything that others wait for: a store that hangs must hold up its own mails
            # only, and no mail server would wait for it.
            contents = _read_files(deps, claim, delivery)
            # A place for a connection first: a turn that is not used would be lost to the others.
            with deps.mailer.reserved():
                turn = gate.pass_through(deps.pool, deps.settings)
                accepted = _send(deps, claim, delivery, turn, contents) if turn.go else None
    except MailBusy:
        _put_back(deps, claim, delivery, gate.another_try(), None)
    except MailUnknown as exc:
        _finish_delivery(deps, claim, "unknown", None, exc.message)
        gate.answered(deps.pool, deps.settings)
    except MailRefused as exc:
        gate.refused(deps.pool, deps.settings, exc)
        _refused(deps, claim, exc)
    except MailStopped as exc:
        raise LostLease from exc
    else:
        if accepted is None:
            _put_back(deps, claim, delivery, turn.wait, turn.cause)
            return
        _finish_delivery(deps, claim, "sent", accepted.code, None)
        gate.took(deps.pool, turn)


def _open_delivery(deps: Deps, claim: Claim) -> Delivery | None:
    """Return the delivery if there is still something to send; else end the task."""
    with db.transaction(deps.pool) as conn:
        delivery = deliveries.get(conn, claim.delivery_id or 0)
        if delivery is not None and delivery.state in ("pending", "retry", "sending"):
            return delivery
        for run_id in setbacks.lock(conn, claim):
            tasks.complete(conn, claim)
            deliveries.settle_run(conn, run_id)
    return None


def _put_back(deps: Deps, claim: Claim, delivery: Delivery, wait: float, cause: str | None) -> None:
    """Leave the mail for later without an attempt: it is not its turn, or the server is away."""
    with db.transaction(deps.pool) as conn:
        setbacks.lock(conn, claim)
        over = deliveries.age(conn, delivery.id) + wait > deliveries.LIFETIME
        if not over:
            tasks.release(conn, claim, after=wait)
            if cause:
                deliveries.held(conn, delivery.id, cause)
    if over:
        _finish_delivery(deps, claim, "failed", None, cause or TOO_MANY)
        return
    traces.note(outcome="put back")
    logger.debug("delivery.put_back", after=round(wait, 1), cause=cause)


NOT_ALLOWED = "Reports may not go to this domain: it is not in BROADSHEET_ALLOWED_DOMAINS."
TOO_MANY = "Its turn did not come within a day: more mails wait than may be sent."


def _send(
    deps: Deps, claim: Claim, delivery: Delivery, turn: Turn, contents: Mapping[int, bytes]
) -> Accepted:
    """Hand the mail over, and never one that another worker may be handing over."""
    gate.sized(deps.pool, turn, deps.mailer.connect())
    with db.transaction(deps.pool) as conn:
        setbacks.lock(conn, claim)
        run = _run_of(conn, claim)
        # While we wait for a connection, another may have taken the task over; then the attempt
        # is not ours to begin.
        if not tasks.renew(conn, claim) or not deliveries.start(
            conn, delivery.id, delivery.attempts + 1
        ):
            raise LostLease
        letter = Letters.from_json(run.mail or {}).of(delivery.attached)
        attachments = _attachments(letter, documents.of_run(conn, run.id), contents)

    def before_dot() -> bool:
        """Say whether the mail may go out: the lease must still be ours."""
        with db.transaction(deps.pool) as conn:
            return tasks.renew(conn, claim) and deliveries.mark_dot(conn, delivery.id)

    message = deps.mailer.build(
        letter,
        recipient=delivery.recipient,
        message_id=delivery.message_id,
        attachments=attachments,
    )
    with _watched(deps, delivery):
        return deps.mailer.send(message, recipient=delivery.recipient, before_dot=before_dot)


#: A mail that takes longer, in seconds, says so: nobody shall have to wait for a time-out, of which
#: that of the final dot is ten minutes, to hear of a server that hangs.
SLOW = 30.0


@contextmanager
def _watched(deps: Deps, delivery: Delivery) -> Iterator[None]:
    """Tell log and history when the block takes long; it goes on all the same."""

    def tell() -> None:
        cause = (
            f"The mail server did not answer within {SLOW:g} s (in phase {deps.mailer.phase}); "
            "it is still waited for."
        )
        logger.warning("delivery.slow", cause=cause)
        try:
            with db.transaction(deps.pool) as conn:
                deliveries.slow(conn, delivery.id, cause)
        except DatabaseAway as exc:
            logger.warning("delivery.slow_not_told", error=exc.message)

    # With the ids that this thread's lines have.
    timer = threading.Timer(SLOW, contextvars.copy_context().run, [tell])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _read_files(deps: Deps, claim: Claim, delivery: Delivery) -> dict[int, bytes]:
    """Return the bytes of the files that travel in the mail, by the documents' ids."""
    with db.transaction(deps.pool) as conn:
        run = _run_of(conn, claim)
        letter = Letters.from_json(run.mail or {}).of(delivery.attached)
        known = _travelling(letter, documents.of_run(conn, run.id))
    read = deps.storage.contents(partial(db.transaction, deps.pool), known)
    return {document.id: content for document, content in zip(known, read, strict=True)}


def _travelling(letter: Letter, known: list[Document]) -> list[Document]:
    """Return the documents in a mail: its attachments, then what is only shown in it."""
    shown = (document_id for _, document_id in letter.images)
    wanted = [*letter.attachments, *(item for item in shown if item not in letter.attachments)]
    by_id = {document.id: document for document in known}
    if not by_id.keys() >= set(wanted):
        # Without them it would be another mail than the one that was written.
        raise MailRefused("The files of this run are gone.", phase="files", permanent=True)
    return [by_id[document_id] for document_id in wanted]


def _attachments(
    letter: Letter, known: list[Document], contents: Mapping[int, bytes]
) -> list[Attachment]:
    inline = {document_id: content_id for content_id, document_id in letter.images}
    return [
        Attachment(
            name=document.name,
            media_type=document.media_type,
            content=contents[document.id],
            content_id=inline.get(document.id),
        )
        for document in _travelling(letter, known)
    ]


def _finish_delivery(
    deps: Deps, claim: Claim, state: str, code: int | None, cause: str | None
) -> None:
    """Write down how a delivery ended.

    Tried for a while when the database is away: what the mail server answered is known only
    here, and without it an accepted mail would be `unknown`.
    """
    until = time.monotonic() + claim.lease / 2
    while True:
        try:
            ended = _end_delivery(deps, claim, state, code, cause)
            break
        except DatabaseAway:
            if time.monotonic() > until:
                raise
            time.sleep(AGAIN)
    meters.count("mails", outcome=state)
    traces.note(outcome=state, code=code)
    if state != deliveries.SENT:
        traces.failed(state)
    # Its run may go on for a day with other recipients, and this one has got nothing.
    note = logger.info if state == deliveries.SENT else logger.error
    note("delivery.ended", state=state, code=code, cause=cause)
    if ended:
        logger.info("run.ended", state=ended)


#: Seconds until the database is asked once more.
AGAIN = 0.5


def _end_delivery(
    deps: Deps, claim: Claim, state: str, code: int | None, cause: str | None
) -> str | None:
    ended = None
    with db.transaction(deps.pool) as conn:
        for run_id in setbacks.lock(conn, claim):
            tasks.complete(conn, claim)
            deliveries.finish(conn, claim.delivery_id or 0, state, code, cause)
            ended = deliveries.settle_run(conn, run_id)
            if ended is None and state != deliveries.SENT:
                deliveries.tell_amiss(conn, run_id)
    return ended


def _refused(deps: Deps, claim: Claim, error: MailRefused) -> None:
    """Decide what becomes of a mail that was not taken: another attempt, a lighter letter, the end.

    Where the server is at fault and not the mail, the attempt does not count.
    """
    counts = not (error.of_the_server or error.throttled)
    with db.transaction(deps.pool) as conn:
        setbacks.lock(conn, claim)
        delivery = deliveries.get(conn, claim.delivery_id or 0)
        run = _run_of(conn, claim)
        if delivery is None:
            raise LostLease
        lighter = (
            error.too_large
            and delivery.attached != deliveries.NONE
            and Letters.from_json(run.mail or {}).light is not None
        )
        wait = (
            0.0
            if lighter
            else _wait(deps, delivery.attempts, error, deliveries.age(conn, delivery.id))
        )
        if wait is not None:
            tasks.release(conn, claim, after=wait)
        if lighter:
            deliveries.lighten(conn, delivery.id, error.code, error.message)
        elif wait is not None:
            deliveries.retry(conn, delivery.id, error.code, error.message, counts=counts)
            meters.count("mails", outcome="retry")
    if wait is None:
        _finish_delivery(deps, claim, "failed", error.code, error.message)
    elif lighter:
        traces.note(outcome="lightened", code=error.code)
        logger.warning("delivery.lightened", code=error.code, cause=error.message)
        queue.announce(deps.pool, deps.bell, [Ring(claim.task_id, claim.kind, claim.lane)])
    else:
        traces.note(outcome="again", code=error.code)
        traces.failed(type(error).__name__)
        # What concerns every mail was said once, by the gate.
        say = logger.warning if counts else logger.info
        say("delivery.again", after=round(wait), code=error.code, cause=error.message)


# -- what the three have in common ----------------------------------------------------------


def _take(task_id: int, kind: str, deps: Deps, *, most: int = 0) -> Claim | None:
    with db.transaction(deps.pool) as conn:
        lease = deps.settings.lease_seconds
        claim = tasks.claim(conn, task_id, kind, deps.owner, lease=lease, most=most)
    if claim is None:
        logger.debug("task.not_ours", task_id=task_id, kind=kind)
    return claim


def _run_of(conn: Connection, claim: Claim) -> Run:
    run = runs.get(conn, claim.run_id or 0)
    if run is None or run.finished_at is not None:
        # Cancelled between the claim and now; its tasks are gone with it.
        raise LostLease
    return run


@contextmanager
def _setback(claim: Claim, deps: Deps) -> Iterator[None]:
    """Turn any error of a step into another attempt or the end of the run, told in its row.

    When the database is what failed, nothing can be told now: the lease runs out and beat finds
    the task. Anything that is no error (a shutdown) passes through with the same effect.
    """
    of: dict[str, Any] = {"capture_id": claim.capture_id} if claim.capture_id else {}
    of |= {"run_id": claim.for_run, "org_id": claim.org_id, "report_id": claim.report_id}
    # A mail's attempts are counted by its delivery.
    of |= {"delivery_id": claim.delivery_id} if claim.delivery_id else {"attempt": claim.attempt}
    began = time.monotonic()
    with log.bind(**of, task_id=claim.task_id):
        try:
            with _traced(claim, deps):
                yield
            meters.observe("task_seconds", time.monotonic() - began, kind=claim.kind)
        except LostLease:
            logger.warning("task.lost", kind=claim.kind)
        except DatabaseAway as exc:
            logger.error("task.left", kind=claim.kind, error=exc.message)  # noqa: TRY400 - the cause is outside, a traceback says nothing
        except Exception as exc:
            meters.count("tasks_failed", kind=claim.kind)
            cause = exc.message if isinstance(exc, BroadsheetError) else f"Unexpected: {exc!r}"
            if not isinstance(exc, BroadsheetError):
                logger.exception("task.broke", kind=claim.kind)
            _again_or_never(claim, deps, exc, cause)


@contextmanager
def _traced(claim: Claim, deps: Deps) -> Iterator[None]:
    """Make a span of the block, in the trace of the run that the task is of.

    A capture is one run's: of those that wait for it the first whose trace is recorded. What the
    others see of it, `_tell_sharers` adds.
    """
    if not traces.on():
        yield
        return
    began = traces.now()
    with db.transaction(deps.pool) as conn:
        ids = [claim.run_id] if claim.run_id else []
        found = runs.traceparents(conn, ids, capture_id=claim.capture_id)
    recorded = (run_id for run_id, text in found.items() if traces.is_recorded(text))
    run_id = next(recorded, next(iter(found), None))
    with traces.span(
        SPANS[claim.kind],
        kind="consumer",
        within=traces.continued(found.get(run_id or 0)),
        began=began,
        org=claim.org_id,
        report=claim.report_id,
        run=run_id,
        runs=list(found) if claim.capture_id else None,
        capture=claim.capture_id,
        delivery=claim.delivery_id,
        # A mail's attempts are counted by its delivery.
        attempt=None if claim.delivery_id else claim.attempt,
        queue=queue.QUEUES[claim.kind],
        message=str(claim.task_id),
    ):
        yield


#: What the spans of the three are called.
SPANS = {"render": "capture", "assemble": "assemble", "deliver": "deliver"}


def _again_or_never(claim: Claim, deps: Deps, error: Exception, cause: str) -> None:
    if claim.kind == "deliver" and not isinstance(error, MailRefused):
        # Whatever it was, the mail did not go out for it: like any refusal it has a day.
        error = MailRefused(cause, phase="worker")
    try:
        with db.transaction(deps.pool) as conn:
            delivery = deliveries.get(conn, claim.delivery_id) if claim.delivery_id else None
            wait = (
                _wait(deps, delivery.attempts, error, deliveries.age(conn, delivery.id))
                if delivery
                else _wait(deps, claim.attempt, error, 0.0)
            )
            if wait is None:
                decided = setbacks.give_up(conn, claim, cause)
            else:
                decided = setbacks.try_again(conn, claim, cause, after=wait)
    except (LostLease, DatabaseAway) as exc:
        logger.warning("task.left", kind=claim.kind, error=exc.message)
        return
    say = logger.warning if decided == "again" else logger.error
    say("task.set_back", kind=claim.kind, decided=decided, after=wait, cause=cause)


def _wait(deps: Deps, attempt: int, error: Exception, age: float) -> float | None:
    """Return the seconds until the next attempt; None: there is none."""
    if isinstance(error, InVain):
        # No failure: somebody wants it after all.
        return 0.0
    return retry.decide(
        error,
        attempt,
        deps.settings.max_attempts,
        age=age,
        jitter=random.random(),  # noqa: S311 - spreads load, keeps no secret
    )
