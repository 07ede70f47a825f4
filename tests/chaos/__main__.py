"""`python -m tests.chaos --seconds 600 --seed 7`, or `make chaos`.

Everything runs as real processes; all of it is killed, cut off and emptied at random while reports
fall due; then all is mended, and what arrived is compared with what had to.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.chaos.story import Story, tell
from tests.chaos.verdict import Verdict


def main() -> None:
    """Run, report, and end with 1 if a mail was lost or came twice."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of faults")
    parser.add_argument("--seed", type=int, default=None, help="of load, faults and mail server")
    parser.add_argument(
        "--logs", type=Path, default=None, help="where the processes' logs are kept"
    )
    options = parser.parse_args()
    seed = random.randrange(1_000_000) if options.seed is None else options.seed
    logs = options.logs or Path(tempfile.mkdtemp(prefix="chaos-"))
    print(f"seed {seed}, {options.seconds:g} s; logs in {logs}", flush=True)
    story = tell(logs, seed=seed, seconds=options.seconds)
    _print(story)
    sys.exit(0 if story.verdict.good else 1)


def _print(story: Story) -> None:
    verdict = story.verdict
    _table("faults", Counter(done.kind for done in story.faults))
    _table("mail server", Counter(one.mode for one in story.wire.tries))
    _table("runs", verdict.runs)
    _table("mails by the ledger", verdict.deliveries)
    _table("unknown, because of", verdict.unknown)
    answers = Counter(status for sending in story.sendings for status in sending.answers)
    print(f"answers to requests to send: {dict(answers)}")
    delays = sorted(verdict.delays) or [0.0]
    print(
        f"{verdict.expected} mails had to come, {verdict.on_the_wire} were kept by the server; "
        f"the longest delay {delays[-1]:.1f} s, median {delays[len(delays) // 2]:.1f} s; "
        f"all had ended {story.healed_in:.1f} s after the last fault"
    )
    _table("changes", Counter(f"{ask.verb} {ask.status or 'unanswered'}" for ask in story.asks))
    _table("slots of changed reports", verdict.changed)
    for name, found in _faulty(verdict).items():
        for line in found:
            print(f"{name}: {line}")
    print(
        f"lost {len(verdict.lost)}, double {len(verdict.double)}, "
        f"wrong state {len(verdict.wrong)}, broke {len(verdict.broke)}: "
        + ("as promised" if verdict.good else "BROKEN")
    )


def _faulty(verdict: Verdict) -> dict[str, list[str]]:
    return {
        "LOST": verdict.lost,
        "DOUBLE": verdict.double,
        "WRONG": verdict.wrong,
        "BROKE": verdict.broke,
    }


def _table(title: str, counts: Counter[str]) -> None:
    print(f"{title}: " + (", ".join(f"{n} × {name}" for name, n in counts.most_common()) or "none"))


if __name__ == "__main__":
    main()
