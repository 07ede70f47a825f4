"""Meters: what each process counts and measures of itself, for Prometheus.

The processes of one host that belong together (a worker's children, gunicorn's workers) write into
files of one folder, and whoever of them is asked adds all of them up: prometheus-client's
multiprocess mode, which it chooses when it is first imported. So it is imported in `begin`, and
until then nothing is counted.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared import log
from shared.settings import Settings

logger = log.get(__name__)

#: Where prometheus-client looks for the folder; a parent sets it for its children.
FOLDER = "PROMETHEUS_MULTIPROC_DIR"

FAST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
SLOW = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0)


#: As in `shared.presence`, which is not for whoever needs no database.
API, BEAT, WORKER = "api", "beat", "worker"


@dataclass(frozen=True, slots=True)
class Meter:
    """A counter, a gauge, or (with `buckets`) a histogram, and its labels."""

    text: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    gauge: bool = False
    #: What its only label may be: zeros from the start, so that the first one is seen to rise.
    values: tuple[str, ...] = ()
    #: Which processes have it: a zero of all others would say what is not so.
    role: str = WORKER


METERS: Mapping[str, Meter] = {
    "task_seconds": Meter("What a worker took for a task, by its kind.", ("kind",), SLOW),
    "tasks_failed": Meter(
        "Attempts that ended in an error, by kind of task.",
        ("kind",),
        values=("render", "assemble", "deliver"),
    ),
    "capture_stage_seconds": Meter("Stages of a capture.", ("stage",), FAST),
    "capture_panels": Meter("Panels that were captured, by verdict.", ("state",)),
    "grafana_request_seconds": Meter(
        "Queries of captures to Grafana, by status (0: no answer).", ("status",), FAST
    ),
    "browser_launches": Meter("Browsers that were started."),
    "browser_recycles": Meter(
        "Browsers that gave way to a new one, by why.",
        ("cause",),
        values=("memory", "captures", "age", "fault"),
    ),
    "browser_memory_bytes": Meter("What browsers held after their last captures.", gauge=True),
    "mails": Meter("Attempts to deliver a mail, by what came of them.", ("outcome",)),
    "beat_tick_seconds": Meter("What a tick of beat took.", (), FAST, role=BEAT),
    "api_request_seconds": Meter(
        "What the API took to answer.", ("method", "route", "status"), FAST, role=API
    ),
}

_meters: dict[str, Any] = {}


def prepare() -> None:
    """Make the folder that this process and its children write into; it goes with this process."""
    if FOLDER in os.environ:
        return
    folder = tempfile.mkdtemp(prefix="broadsheet-meters-")
    os.environ[FOLDER] = folder
    mine = os.getpid()

    def remove() -> None:
        if os.getpid() == mine:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)


def begin(role: str) -> None:
    """Count what a process of this role does from now on, here and in those that it forks."""
    if _meters:
        return
    prepare()
    import prometheus_client as prometheus  # noqa: PLC0415 - see the module's head
    from prometheus_client import values  # noqa: PLC0415 - see the module's head

    # Somebody may have imported it before the folder was named, as Flower does, of which Celery's
    # command line loads the commands wherever it is installed. Then it keeps numbers in the memory
    # of each process, where nobody adds them up.
    values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]  # it has no types

    for name, meter in METERS.items():
        if meter.role != role:
            continue
        common: dict[str, Any] = {
            "name": f"broadsheet_{name}",
            "documentation": meter.text,
            "labelnames": meter.labels,
            "registry": prometheus.CollectorRegistry(),
        }
        if meter.buckets:
            _meters[name] = prometheus.Histogram(**common, buckets=meter.buckets)
        elif meter.gauge:
            _meters[name] = prometheus.Gauge(**common, multiprocess_mode="livesum")
        else:
            _meters[name] = prometheus.Counter(**common)
        for value in meter.values:
            _meters[name].labels(value)


def count(name: str, number: float = 1, **labels: object) -> None:
    """Add to a counter; nothing where the process does not have it."""
    if name in _meters:
        _labelled(name, labels).inc(number)


def observe(name: str, value: float, **labels: object) -> None:
    """Add a value to a histogram."""
    if name in _meters:
        _labelled(name, labels).observe(value)


def keep(name: str, value: float) -> None:
    """Set a gauge."""
    if name in _meters:
        _meters[name].set(value)


def _labelled(name: str, labels: Mapping[str, object]) -> Any:
    meter = _meters[name]
    return meter.labels(**{key: str(value) for key, value in labels.items()}) if labels else meter


def text() -> bytes:
    """Return what the processes of this folder have counted, in Prometheus' text format."""
    if not _meters:
        return b""
    from prometheus_client import generate_latest  # noqa: PLC0415 - see the module's head

    return generate_latest(_registry())


def serve(address: str, port: int) -> None:
    """Answer Prometheus at `/metrics` of this port, in a thread. Raises `OSError`."""
    from prometheus_client import start_http_server  # noqa: PLC0415 - see the module's head

    start_http_server(port, addr=address, registry=_registry())


def serve_if_wanted(settings: Settings) -> None:
    """Serve where the settings say so. A port that is taken is one line in the log, no more."""
    if settings.metrics_port:
        try:
            serve(settings.metrics_address, settings.metrics_port)
        except OSError as exc:
            logger.error("meters.not_served", port=settings.metrics_port, error=str(exc))  # noqa: TRY400 - a traceback says nothing here


def leave() -> None:
    """Take what this process holds right now out of the sums; what it counted stays."""
    if _meters:
        from prometheus_client import multiprocess  # noqa: PLC0415 - see the module's head

        multiprocess.mark_process_dead(os.getpid())  # type: ignore[no-untyped-call]  # it has no types


def _registry() -> Any:
    from prometheus_client import CollectorRegistry, multiprocess  # noqa: PLC0415 - see above

    class OfAllWhoLive(multiprocess.MultiProcessCollector):
        """Adds up, without what children held that were killed: they could not take it out."""

        def collect(self) -> Any:
            """Give the metrics of the folder."""
            for file in Path(os.environ[FOLDER]).glob("gauge_live*_*.db"):
                pid = int(file.stem.rpartition("_")[2])
                if not _lives(pid):
                    multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]  # it has no types
            return super().collect()  # type: ignore[no-untyped-call]  # it has no types

    registry = CollectorRegistry()
    OfAllWhoLive(registry)  # type: ignore[no-untyped-call]  # it has no types
    return registry


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
