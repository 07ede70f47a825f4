"""How fast a dashboard becomes a file, by several ways: `make bench-capture`.

    make bench-capture                                  the stand-in: a quarter of an hour
    make bench-capture ARGS="--frontend both"           … with the older front-end, too
    make bench-capture ARGS="--quick"                   ours and the page itself only
    BROADSHEET_GRAFANA_URL=… BROADSHEET_GRAFANA_TOKEN=… make bench-capture
                                                        a Grafana that has these dashboards:
    BENCH_DASHBOARDS=bench8,bench24,bench60,slow24      uids of 8, 24 and 60 panels, and of 24
                                                        panels with queries of 1 to 3 s
    BENCH_ROUNDS=5                                      rounds that count
    make bench-capture ARGS="--endurance 200"           one browser, again and again

How to read the table, a line per dashboard and way (`tests/bench/ways.py` tells what each does):

- median, best, worst: seconds from the request to the file. The ways take turns within a round, so
  that a machine that is busy with something else is so for all of them. Those that need long have
  fewer rounds. Compare within one run only.
- "Broadsheet, warm" is what a worker does that has captured before: where all that a dashboard
  shows is Grafana's own, it goes there within the front-end. The newer front-end is not asked
  for the same dashboard twice in one page, so there each round loads it anew.
- ratio: to "Broadsheet, warm" of the same dashboard; 7.0 means that this way needs seven times as
  long.
- MB: the most that the browser's processes took together (PSS), sampled in a first round whose
  times do not count, because sampling costs time. Ours include Playwright's driver, some 140 MB,
  which the programs that the others stand for do not need.
- kB: of the PDF, or of the PNGs. "the page itself" makes no file.
- panels: how many had their data when the file was made, of how many. Whether they are on the
  file is another question: the renderer prints what is on one screen of the older front-end.

Below it: how "Broadsheet, warm", printing included, compares with what the page itself needs until
its data are drawn. Queries that stand in line are what it wins on; printing is what it pays.

`--endurance`, or BENCH_CAPTURES, captures one dashboard (bench24, else the first of those chosen)
in one browser and tells what memory that takes early and at the end: at multiples of 20 a page is
as worn as it gets, at more than 200 the browser is a new one. Then how many a minute come from one
worker process, and from two at once. A figure per core is of value only where two cores are free;
a Grafana on the same machine works on them, too.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime as dt
import os
import signal
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
from playwright.async_api import Error as PlaywrightError

from shared import log
from shared.errors import BroadsheetError
from shared.settings import Settings
from tests.bench import memory, target, ways
from tests.bench.target import Dashboard, Target
from tests.bench.ways import Taken, Way
from workers import chromium
from workers.capture.browser import Browser

#: The slow ways take part in each third round.
EVERY = 3
EARLY = 20
#: For all captures of an endurance run, and for a worker to end.
LIMIT = 3600.0
END_TIMEOUT = 30.0


def main() -> None:
    """Measure what is asked for, and print it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    options = _arguments().parse_args()
    settings = Settings.from_environment(os.environ, needs=())
    settings = dataclasses.replace(settings, log_level="ERROR", log_format="text")
    log.configure(settings, process="bench")
    program = chromium.find(settings.chromium, os.environ)
    for grafana in _targets(settings, options):
        mine = dataclasses.replace(settings, grafana_url=grafana.url, grafana_token=grafana.token)
        print(f"{grafana.name}; {program.version}; {os.cpu_count()} cores", flush=True)
        if options.endurance:
            _endure(mine, program.path, grafana, options.endurance)
        else:
            _compare(mine, program.path, grafana, options.rounds, quick=options.quick)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.capture")
    parser.add_argument("--frontend", choices=("legacy", "scenes", "both"), default="scenes")
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("BENCH_ROUNDS", "5")))
    parser.add_argument("--quick", action="store_true", help="without the ways of others")
    parser.add_argument(
        "--endurance", type=int, metavar="N", default=int(os.environ.get("BENCH_CAPTURES", "0"))
    )
    return parser


def _targets(settings: Settings, options: argparse.Namespace) -> Iterator[Target]:
    chosen = os.environ.get("BENCH_DASHBOARDS", "")
    uids = [uid.strip() for uid in chosen.split(",") if uid.strip()] or target.DASHBOARDS
    if settings.grafana_url:
        yield target.given(settings.grafana_url, settings.grafana_token, uids)
        return
    for frontend in ("legacy", "scenes"):
        if options.frontend in (frontend, "both"):
            with target.stand_in(frontend) as grafana:
                wanted = tuple(one for one in grafana.dashboards if one.uid in uids)
                yield dataclasses.replace(grafana, dashboards=wanted)


# All ways, the same dashboards


@dataclass
class Line:
    """The figures of one dashboard by one way."""

    dashboard: Dashboard
    way: Way
    megabytes: float = 0.0
    taken: list[Taken] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Seconds; nan where nothing came of it."""
        return _median([taken.seconds for taken in self.taken])

    @property
    def median_ready(self) -> float:
        """The same until the data were drawn."""
        return _median([taken.ready for taken in self.taken if taken.ready is not None])

    def measure(self) -> None:
        """Take it once, for the time; a failure is a result, too."""
        if taken := self._try():
            self.taken.append(taken)

    def sample(self) -> None:
        """Take it once, for the memory and to warm up."""
        with memory.Peak(self.way.own) as peak:
            self._try()
        self.megabytes = peak.megabytes
        self.failed.clear()

    def _try(self) -> Taken | None:
        taken = None
        try:
            taken = self.way.take(self.dashboard)
        except* (BroadsheetError, PlaywrightError, TimeoutError) as group:
            error = group.exceptions[0]
            self.failed.append(str(error).partition("\n")[0] or type(error).__name__)
        said = f"{taken.seconds:.2f} s" if taken else self.failed[-1]
        _say(f"{self.dashboard.uid}, {self.way.name}: {said}")
        return taken


def _median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else float("nan")


def _compare(
    settings: Settings, program: Path, grafana: Target, rounds: int, *, quick: bool
) -> None:
    at = dt.datetime.now(dt.UTC).replace(microsecond=0)
    with contextlib.ExitStack() as stack:
        driver = ways.Driver(program, grafana, at)
        stack.callback(driver.close)
        fast: list[Way] = [
            ways.Warm(settings, program, at),
            ways.Cold(settings, program, at),
            ways.ThePage(driver),
        ]
        others: list[Way] = [
            ways.Renderer(driver, "PDF"),
            ways.Renderer(driver, "PNG"),
            ways.PerPanel(driver),
        ]
        slow = [] if quick else others
        for way in (*fast, *slow):
            stack.callback(way.close)
            way.start()
        lines = [Line(dashboard, way) for dashboard in grafana.dashboards for way in (*fast, *slow)]
        _say("First round, for the memory and to warm up:")
        for line in lines:
            line.sample()
        for number in range(rounds):
            _say(f"Round {number + 1} of {rounds}:")
            for line in lines:
                if line.way in fast or number % EVERY == 0:
                    line.measure()
    _print(lines)


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def _print(lines: Sequence[Line]) -> None:
    print(
        f"{'dashboard':<10} {'way':<21} {'median s':>8} {'best':>6} {'worst':>6} {'times':>5} "
        f"{'ratio':>6} {'MB':>5} {'kB':>6} {'panels':>7}"
    )
    ours = {line.dashboard: line for line in lines if isinstance(line.way, ways.Warm)}
    for line in lines:
        begin = f"{line.dashboard.uid:<10} {line.way.name:<21}"
        if line.taken:
            seconds = [taken.seconds for taken in line.taken]
            last = line.taken[-1]
            panels = f"{last.panels}/{len(line.dashboard.panels)}"
            kilobytes = f"{last.size / 1000:.0f}" if last.size else "–"
            print(
                f"{begin} {line.median:>8.2f} {min(seconds):>6.2f} {max(seconds):>6.2f} "
                f"{len(seconds):>5} {line.median / ours[line.dashboard].median:>6.2f} "
                f"{line.megabytes:>5.0f} {kilobytes:>6} {panels:>7}"
            )
        for failure in line.failed:
            print(f"{begin} failed: {failure}")
    for line in lines:
        if isinstance(line.way, ways.ThePage):
            warm = ours[line.dashboard]
            print(
                f"{line.dashboard.uid:<10} Broadsheet, warm: {warm.median / line.median:.2f} of "
                f"the page itself, {warm.median_ready / line.median:.2f} before printing"
            )
    print(flush=True)


# One browser, again and again


def _endure(settings: Settings, program: Path, grafana: Target, count: int) -> None:
    chosen = [one for one in grafana.dashboards if one.uid == "bench24"] or grafana.dashboards
    dashboard = chosen[0]
    print(f"{dashboard.uid}, {len(dashboard.panels)} panels, {count} captures", flush=True)
    early = min(EARLY, count // 2)
    with _workers(settings, program, dashboard, 1) as (worker,):
        seconds = worker.capture(early - 1)
        first = worker.megabytes()
        seconds += worker.capture(count - early)
        last = worker.megabytes()
    for name, before, after in zip(("browser", "with its worker"), first, last, strict=True):
        print(
            f"{name:<16} {before:>6,.0f} MB after {early}, {after:>6,.0f} MB after {count}: "
            f"ratio {after / before:.2f}"
        )
    print(f"one worker       {(count - 1) / seconds * 60:>6.1f} a minute", flush=True)
    with _workers(settings, program, dashboard, 2) as pair:
        began = time.monotonic()
        for worker in pair:
            worker.begin(count // 2)
        for worker in pair:
            worker.finish()
        rate = count // 2 * 2 / (time.monotonic() - began) * 60
    print(f"two workers      {rate:>6.1f} a minute, {rate / 2:.1f} each")
    print(flush=True)


class Worker:
    """A process with a warm browser, which captures on demand."""

    def __init__(self, settings: Settings, program: Path, dashboard: Dashboard) -> None:
        self._pipe, there = target.processes.Pipe()
        self.process = target.processes.Process(
            target=_work, args=(settings, program, dashboard, there), daemon=True
        )
        self.process.start()
        there.close()

    def begin(self, count: int) -> None:
        """Ask for so many captures."""
        self._pipe.send(count)

    def finish(self) -> float:
        """Return the seconds that those took."""
        if not self._pipe.poll(LIMIT):
            raise SystemExit(f"The worker was not through within {LIMIT:g} s.")
        try:
            seconds: float = self._pipe.recv()
        except EOFError:
            raise SystemExit("A capture failed.") from None
        return seconds

    def capture(self, count: int) -> float:
        """Capture so many times; return the seconds it took."""
        self.begin(count)
        return self.finish()

    def megabytes(self) -> tuple[float, float]:
        """Return what the browser takes now, with its driver, and what it takes with the worker."""
        this = psutil.Process(self.process.pid)
        whole = memory.tree([this])
        return memory.megabytes(whole - {this}), memory.megabytes(whole)

    def close(self) -> None:
        """End it, and it its browser."""
        self.process.terminate()
        self.process.join(END_TIMEOUT)
        self.process.kill()


@contextlib.contextmanager
def _workers(
    settings: Settings, program: Path, dashboard: Dashboard, count: int
) -> Iterator[list[Worker]]:
    """Start workers that are warm: each has captured once, which counts for no time."""
    with contextlib.ExitStack() as stack:
        workers = [Worker(settings, program, dashboard) for _ in range(count)]
        for worker in workers:
            stack.callback(worker.close)
        for worker in workers:
            worker.capture(1)
        yield workers


def _work(settings: Settings, program: Path, dashboard: Dashboard, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the bench ends this with SIGTERM
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    log.configure(settings, process="bench")
    browser = Browser(settings, program)
    try:
        # Should the bench be killed, its end of the pipe is closed, and this ends, too.
        while count := pipe.recv():
            began = time.monotonic()
            for _ in range(count):
                browser.capture(ways.request(dashboard, dt.datetime.now(dt.UTC)))
            pipe.send(time.monotonic() - began)
    except EOFError:
        pass
    finally:
        browser.close()


if __name__ == "__main__":
    main()
