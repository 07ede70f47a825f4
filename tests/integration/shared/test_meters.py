"""What processes count of themselves, added up over those that belong together."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

#: A parent that forks children, as a worker's pool does; each counts, and ends.
SCRIPT = """
import os, urllib.request
from deploy.local.services import free_port
from shared import meters
from shared.settings import Settings

meters.count("mails", outcome="sent")  # nothing yet
meters.begin("worker")
meters.observe("beat_tick_seconds", 1)  # not of a worker
port = free_port()
meters.serve_if_wanted(Settings(metrics_port=port))
ready, tell = os.pipe()
wait, hold = os.pipe()
for number in range(3):
    if os.fork() == 0:
        meters.count("mails", outcome="sent")
        meters.observe("task_seconds", 0.2 * number, kind="render")
        meters.keep("browser_memory_bytes", 100)
        os.write(tell, b".")
        if number == 0:  # it lives on
            os.close(hold)
            os.read(wait, 1)
        if number == 1:
            meters.leave()
        if number == 2:
            os.kill(os.getpid(), 9)
        os._exit(0)
    os.read(ready, 1)
    if number:
        os.wait()
meters.count("mails", outcome="failed")
print(urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode())
print("FOLDER", os.environ[meters.FOLDER])
meters.serve_if_wanted(Settings(metrics_port=port))
"""


#: Flower, where it is installed, has Celery's command line do so.
EARLY = "import prometheus_client\n"


@pytest.mark.parametrize("script", [SCRIPT, EARLY + SCRIPT])
def test_children_are_added_up_and_what_those_hold_that_left_or_died_is_not(
    checkout: Path, script: str
) -> None:
    environ = {name: value for name, value in os.environ.items() if "PROMETHEUS" not in name}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=checkout,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    lines = done.stdout.splitlines()
    assert 'broadsheet_mails_total{outcome="sent"} 3.0' in lines
    assert 'broadsheet_mails_total{outcome="failed"} 1.0' in lines
    assert 'broadsheet_task_seconds_count{kind="render"} 3.0' in lines
    assert "beat_tick" not in done.stdout
    assert "broadsheet_browser_memory_bytes 100.0" in lines
    folder = next(line.partition(" ")[2] for line in lines if line.startswith("FOLDER"))
    # It goes with the process that made it.
    assert not Path(folder).exists()
    # A port that is taken does not end anybody.
    assert "meters.not_served" in done.stderr + done.stdout
