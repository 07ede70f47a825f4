"""A pool that is scaled 1 → 4 → 1 while a rush drains: what is lost, what is doubled.

Workers are added one by one as mails come, and let go one by one, the first ones first, as a
deployment does; each is busy when it is told to end.
"""

from __future__ import annotations

import argparse
import datetime as dt
import tempfile
import time
from collections import Counter
from pathlib import Path

from deploy.local.inbox import Inbox
from deploy.local.stack import Stack
from shared import db
from tests.bench import rush

LOOK = 0.1
GRACE = 120.0
MORE = ("render-2", "render-3", "render-4")


def add_options(parser: argparse._ArgumentGroup) -> None:
    """Take how many reports the rush has."""
    parser.add_argument("--scaled-reports", type=int, default=120, help="due at once")


def run(options: argparse.Namespace) -> bool:
    """Let them drain, and count the mails."""
    number = options.scaled_reports
    with tempfile.TemporaryDirectory() as folder, Inbox(Path(folder) / "mail") as inbox:
        settings = {"SMTP_PORT": str(inbox.port)}
        with (
            Stack(Path(folder) / "log", environ=rush.bare(), settings=settings, slots=1) as stack,
            db.connect(stack.database_url, autocommit=True) as conn,
        ):
            rush.warm(stack, 1)
            before = len(inbox.messages)
            slot = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=max(3, number / 40))
            rush.make(
                stack,
                [
                    rush.body(f"Scaled {n}", "small", 1_000 + n, rush.once(slot))
                    for n in range(number)
                ],
            )

            def mails() -> int:
                return len(inbox.messages) - before

            # At these parts of the whole a worker is added, or one let go.
            steps = [*((0.05 * (n + 1), "add", name) for n, name in enumerate(MORE)),
                     *((0.4 + 0.15 * n, "let go", name)
                       for n, name in enumerate(("render", *MORE[:2])))]  # fmt: skip
            begun = time.monotonic()
            for part, what, name in steps:
                _wait(lambda part=part: mails() >= part * number, stack)  # type: ignore[misc]  # a default holds the value
                if what == "add":
                    stack.add_worker(name, "render")
                    print(f"    {mails():>5} mails: added {name}", flush=True)
                else:
                    told = time.monotonic()
                    code = stack.dismiss(name, patience=GRACE)
                    took = time.monotonic() - told
                    print(f"    {mails():>5} mails: {name} ended with {code} in {took:.1f} s")
            _wait(lambda: rush.ended(conn) >= number, stack)
            took = time.monotonic() - begun
            again = rush.one(conn, AGAIN)["again"]
        got = Counter(str(one.message["Subject"]) for one in inbox.messages)
    wanted = {f"Scaled {n}" for n in range(number)}
    lost = len(wanted - set(got))
    doubled = sum(count - 1 for name, count in got.items() if name in wanted)
    print(
        f"{number} reports with a pool of 1, 4, 1 workers in {took:.0f} s: {lost} lost, "
        f"{doubled} doubled, {again} captures begun anew"
    )
    return not lost and not doubled


AGAIN = "SELECT coalesce(sum(attempts - 1), 0)::int AS again FROM capture"


def _wait(done: object, stack: Stack) -> None:
    assert callable(done)
    while not done():
        stack.check()
        time.sleep(LOOK)
