"""One process of a capture dies by kill -9: the report arrives, and no browser is left over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest

from deploy.local.grafana.server import StandIn
from tests.acceptance.harness import Service, eventually, serving

DRIVER, MAIN = "run-driver", "--remote-debugging-pipe"


@pytest.fixture(scope="module")
def grafana() -> Iterator[StandIn]:
    """A stand-in in this process, which so knows when a page asks it for data."""
    with StandIn() as stand_in:
        yield stand_in


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, grafana: StandIn) -> Iterator[Service]:
    """A stack with one pool child for captures, so that it is known which of them works."""
    folder = tmp_path_factory.mktemp("alone")
    with serving(folder, grafana=grafana, slots=1, LEASE_SECONDS="3") as service:
        yield service


def called(service: Service, words: str) -> list[psutil.Process]:
    """The processes below the worker that have these words in their command."""
    found = []
    worker = psutil.Process(service.stack.processes["render"].popen.pid)
    for process in worker.children(recursive=True):
        with suppress(psutil.Error):
            if words in " ".join(process.cmdline()):
                found.append(process)
    return found


def browsers(service: Service) -> list[psutil.Process]:
    """Whatever belongs to a browser: its driver, and all of its own processes."""
    return [*called(service, DRIVER), *called(service, "--type="), *called(service, MAIN)]


def victims(service: Service, which: str) -> list[psutil.Process]:
    if which == "pool child":
        return [parent for driver in called(service, DRIVER) if (parent := driver.parent())]
    return called(service, MAIN)


@pytest.mark.parametrize("which", ["browser", "pool child"])
def test_a_process_killed_in_mid_capture_costs_an_attempt_and_leaves_no_orphan(
    alone: Service, grafana: StandIn, which: str
) -> None:
    # Those of an earlier page end when their caller does.
    eventually(lambda: not grafana.requests.queries_now, within=30, what="no page")
    report = alone.create(f"Without its {which}", "slow")
    eventually(lambda: grafana.requests.queries_now, within=60, what="a page that asks for data")
    before = browsers(alone)

    # Renderers and the driver alone are killed in the tests of the browser.
    for process in victims(alone, which):
        with suppress(psutil.Error):  # the end of one may be the end of the next
            process.kill()

    run = alone.ended(report, within=100)
    assert (run["state"], run["cause"]) == ("sent", None)
    assert [capture["attempts"] for capture in run["captures"]] == [2]
    assert len(alone.mails(f"Without its {which}")) == 1
    _, alive = psutil.wait_procs(before, timeout=15)
    assert alive == []
