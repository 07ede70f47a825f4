"""One tick of beat: claim what is due, admit what may begin, ring, reap, tidy.

Everything that decides is in the database: any number of beats may tick at once, and one that
is killed at any point leaves nothing that the next tick of another does not find.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field

from beat import claim, notices, sweep
from beat.claim import Patience
from shared import admission, db, log, queue, reports, restores, tasks
from shared.admission import Turn
from shared.db import Pool
from shared.queue import Bell
from shared.settings import Settings

logger = log.get(__name__)

#: Beat never sleeps longer: an edit's wake-up call can be lost.
LONGEST_SLEEP = 1.0
SHORTEST_SLEEP = 0.05
#: The pause where more waits than the workers have room for.
FULL_SLEEP = 0.2
#: Reports of one tick at most, so that ringing and reaping get their turn in a rush.
BATCHES = 20
#: Clocks that differ by so many seconds are worth a warning; by more, nothing is claimed: what
#: is sent years too early because a clock jumped cannot be taken back.
SKEW_WARNED, SKEW_REFUSED = 2.0, 30.0


def now() -> dt.datetime:
    """Return the time of this machine."""
    return dt.datetime.now(dt.UTC)


@dataclass(slots=True)
class Memory:
    """What one beat remembers from tick to tick; nothing is lost with it."""

    turn: Turn = field(default_factory=Turn)
    chores: sweep.Chores = field(default_factory=sweep.Chores)
    told: notices.Told = field(default_factory=notices.Told)
    skewed: bool = False


def run_tick(pool: Pool, bell: Bell, settings: Settings, memory: Memory) -> float:
    """Do what is due; return the seconds after which something may be due again.

    Raises `DatabaseAway` when the database cannot be reached.
    """
    rush = clocks_agree(pool, now, memory) and claim_due(pool, settings)
    full = admit_waiting(pool, bell, settings, memory.turn)
    sweep.ring_again(pool, bell)
    sweep.reap(pool, max_attempts=settings.max_attempts)
    sweep.give_up_overdue(pool)
    notices.tell_owners(pool, bell, memory.told, settings)
    sweep.do_chores(pool, memory.chores)
    if rush:
        return 0.0
    return FULL_SLEEP if full else seconds_to_next(pool)


def clocks_agree(pool: Pool, clock: Callable[[], dt.datetime], memory: Memory) -> bool:
    """Say whether slots may be claimed: the database's clock is about what `clock` says here.

    The database's clock decides what is due, so that beats cannot disagree; if it jumped ahead,
    all that is due until then would go out at once.
    """
    before = clock()
    with db.transaction(pool) as conn:
        there = db.clock(conn)
    # Between the two it was asked; a database that hung meanwhile has no other clock for that.
    here = min(max(there, before), clock())
    skew = (there - here).total_seconds()
    agree = abs(skew) <= SKEW_REFUSED
    if not agree:
        logger.error(
            "clock.refused",
            seconds=round(skew, 1),
            advice="Nothing is claimed until the clocks of beat and database agree.",
        )
    elif abs(skew) > SKEW_WARNED and not memory.skewed:
        logger.warning("clock.skewed", seconds=round(skew, 1))
    memory.skewed = abs(skew) > SKEW_WARNED
    return agree


def claim_due(pool: Pool, settings: Settings) -> bool:
    """Turn due reports into runs, batch after batch; return whether more are due."""
    for _ in range(BATCHES):
        with db.transaction(pool) as conn:
            patience = Patience(
                catchup=dt.timedelta(seconds=settings.catchup_seconds),
                lifetime=settings.run_timeout,
                restored_at=restores.last(conn),
            )
            number = claim.claim_batch(conn, db.clock(conn), patience)
        if number < claim.BATCH:
            return False
    return True


def admit_waiting(pool: Pool, bell: Bell, settings: Settings, turn: Turn) -> bool:
    """Admit runs until workers have what to do for a while; return whether more may wait."""
    for _ in range(BATCHES):
        with db.transaction(pool) as conn:
            most = settings.grafana_captures
            room = tasks.window(conn, tasks.RENDER, most=most) - tasks.waiting(conn, tasks.RENDER)
            if room <= 0:
                return True
            admitted = admission.lock_waiting(conn, turn, room=room)
            rings = admission.admit(conn, admitted)
        # After the commit: a message must never be there before its row.
        queue.announce(pool, bell, rings)
        if not admitted:
            return False
    return True


def seconds_to_next(pool: Pool) -> float:
    """Return how long beat may sleep."""
    with db.transaction(pool) as conn:
        slot, ring = reports.seconds_to_next(conn), tasks.seconds_to_next(conn)
    if ring is not None:
        # What is still to be rung for found no room, or nobody to hear it: no use in haste.
        ring = max(ring, FULL_SLEEP)
    soonest = min((wait for wait in (slot, ring) if wait is not None), default=LONGEST_SLEEP)
    return min(max(soonest, SHORTEST_SLEEP), LONGEST_SLEEP)
