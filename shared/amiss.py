"""Amiss: what keeps reports from going out right now, in sentences that say what to do."""

from __future__ import annotations

from collections.abc import Sequence

from shared import backlog, log, mail_server, presence
from shared.backlog import Backlog
from shared.db import Connection
from shared.forecast import rounded
from shared.mail_server import MailServer
from shared.presence import Process
from shared.queue import QUEUES

logger = log.get(__name__)

#: Seconds: what waits for longer is told.
LATE = 45.0


def find(there: Backlog, processes: Sequence[Process], servers: Sequence[MailServer]) -> list[str]:
    """Return a sentence for each thing that is amiss; none where everything goes out."""
    live = [process for process in processes if process.is_there]
    found = []
    if not any(process.role == presence.BEAT for process in live):
        found.append("No beat is there: nothing that is due begins. Start one.")
    if there.due.oldest > LATE:
        found.append(
            f"A report is due since {rounded(there.due.oldest)} and no beat has claimed it."
        )
    heard = {queue for process in live for queue in process.queues}
    found += [
        f"No worker listens to the queue {queue}. Start one with -Q {queue}."
        for queue in sorted(set(QUEUES.values()) - heard)
    ]
    found += [
        f"A task to {line.kind} ({line.lane}) waits since {rounded(line.oldest)}: do the workers "
        "hang, or are there too few?"
        for line in there.lines
        if line.state == "waiting" and line.oldest > LATE
    ]
    if there.expired:
        found.append(f"{there.expired} tasks are of workers that are gone.")
    found += [
        f"The mail server {server.name} is away: {server.cause}"
        for server in servers
        if not server.sound
    ]
    if there.unknown:
        found.append(
            f"Of {there.unknown} mails nobody knows whether they arrived: "
            "`broadsheet deliveries`, `broadsheet resolve`."
        )
    return found


def not_sent(there: Backlog) -> list[str]:
    """Return a sentence on the slots of the last day that did not go out, if there are any.

    Apart from `find`, since it stays true for a day, whether or not all is well by now.
    """
    states = {state: number for state, number in there.not_sent.items() if number}
    if not states:
        return []
    counted = ", ".join(f"{number} {state}" for state, number in states.items())
    first = next(iter(states))
    remedy = f"`broadsheet runs --state {first}`, then `broadsheet retry`."
    return [f"Slots of the last 24 hours that did not go out to everybody: {counted}. {remedy}"]


def read(conn: Connection) -> list[str]:
    """Return what is amiss at this moment, of all organisations."""
    return find(backlog.read(conn), presence.find(conn), mail_server.find(conn))


class Watch:
    """Tells the log of what is amiss: when it begins, and every so many looks while it stays."""

    AGAIN = 30

    def __init__(self) -> None:
        self._looks: dict[str, int] = {}

    def look(self, conn: Connection) -> None:
        """Look once; numbers in a sentence do not make it another one."""
        told = {
            "".join(letter for letter in one if not letter.isdigit()): one for one in read(conn)
        }
        for gone in self._looks.keys() - told.keys():
            del self._looks[gone]
        for key, sentence in told.items():
            looks = self._looks[key] = self._looks.get(key, -1) + 1
            if looks % self.AGAIN == 0:
                logger.error("service.amiss", sentence=sentence)
