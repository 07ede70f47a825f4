"""Fakes with the signatures of the real things, for tests of more than one package."""

from __future__ import annotations

import datetime as dt
import io
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from pypdf import PdfWriter
from pypdf.generic import DictionaryObject, NameObject

from shared.tasks import Ring
from workers.capture.request import Captured, CaptureRequest, Facts, InVain, Table
from workers.capture.verdict import Panel, Verdict
from workers.mail import Accepted, Attachment
from workers.messages import Letter


def one_page() -> bytes:
    """An empty A4 page."""
    writer = PdfWriter()
    writer.add_blank_page(width=595.28, height=841.89)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


class FakePrinter:
    """Prints an empty page for each page of a letterhead, one for anything else; keeps the HTML."""

    def __init__(self) -> None:
        self.documents: list[str] = []

    def __call__(self, html: str, *, tagged: bool = False) -> bytes:
        self.documents.append(html)
        writer = PdfWriter()
        for _ in range(html.count('<section class="sheet ') or 1):
            page = writer.add_blank_page(width=595.28, height=841.89)
            page[NameObject("/Resources")] = DictionaryObject()
        out = io.BytesIO()
        writer.write(out)
        return out.getvalue()


class RecordingBell:
    """Remembers what it was rung for; `away` makes it as deaf as a broker that is down.

    `emptied` is what it answers once when it is asked whether it forgot everything.
    """

    def __init__(self) -> None:
        self.rings: list[Ring] = []
        self.away = False
        self.emptied = False

    def forgot(self) -> bool:
        emptied, self.emptied = self.emptied, False
        return emptied

    def ring(self, rings: Sequence[Ring], *, again: bool = False) -> list[int]:
        if self.away:
            return []
        self.rings += rings
        return [ring.task_id for ring in rings]


class FakeRenderer:
    """Gives one page per dashboard; `faults` are raised first, one per call."""

    def __init__(self) -> None:
        self.requests: list[CaptureRequest] = []
        self.faults: list[Exception] = []
        self.panels: tuple[Panel, ...] = (Panel(key="p", title="CPU", type="stat", state="ok"),)
        self.meanwhile: Callable[[], None] = lambda: None
        #: How long to go on for, in seconds, if it is not in vain.
        self.patience = 0.0

    def __call__(self, request: CaptureRequest, in_vain: threading.Event) -> Captured:
        self.requests.append(request)
        self.meanwhile()
        if self.patience and in_vain.wait(self.patience):
            raise InVain
        if self.faults:
            raise self.faults.pop(0)
        return Captured(
            facts=Facts(
                uid=request.uid,
                title=f"Dashboard {request.uid}",
                path=f"/d/{request.uid}/_?from=1&to=2",
                time_from=request.at - dt.timedelta(hours=6),
                time_to=request.at,
                time_zone="UTC",
                variables={},
                front_end="scenes",
                version="12.2.1",
            ),
            verdict=Verdict(panels=self.panels),
            timings={"ready": 5},
            pdf=one_page() if "pdf" in request.formats else None,
            images=(b"png", b"more png") if "image" in request.formats else (),
            tables=(
                Table(
                    title="T",
                    header=("a",),
                    rows=(("1 ms",),),
                    raw=((1,),) if request.raw else None,
                    count=1,
                ),
            )
            if "csv" in request.formats
            else (),
        )


class FakeMailer:
    """Keeps what it was given to send; `outcomes` maps a recipient to the error to raise.

    `after_dot` says whether the error comes after the final dot, as a lost answer does.
    """

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []
        self.outcomes: dict[str, Exception] = {}
        self.after_dot = False
        #: How large a mail the server says it takes; it does not refuse what is larger.
        self.size_limit: int | None = None

    def build(
        self, letter: Letter, *, recipient: str, message_id: str, attachments: Sequence[Attachment]
    ) -> bytes:
        names = ", ".join(attachment.name for attachment in attachments)
        return f"{message_id} {letter.subject} [{names}] {letter.text}".encode()

    @contextmanager
    def reserved(self) -> Iterator[None]:
        yield

    def connect(self) -> int | None:
        return self.size_limit

    def send(self, message: bytes, *, recipient: str, before_dot: Callable[[], bool]) -> Accepted:
        error = self.outcomes.get(recipient)
        if error and not self.after_dot:
            raise error
        assert before_dot()
        if error:
            raise error
        self.sent.append((recipient, message))
        return Accepted(code=250, text="ok")

    def close(self) -> None:
        """Nothing is open."""
