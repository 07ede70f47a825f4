"""What processes count of themselves, added up over those that belong together."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

#: A parent that forks children, as a worker's pool does; each counts, and ends.
SCRIPT = """
import os, urllib.request
from deploy.local.services import free_port
from shared import meters
from shared.settings import Settings

meters.count("captures", complete="true")  # nothing yet
meters.begin()
port = free_port()
meters.serve_if_wanted(Settings(metrics_port=port))
for number in range(3):
    if os.fork() == 0:
        meters.count("captures", complete="true")
        meters.observe("task_seconds", 0.2 * number, kind="render")
        meters.keep("browser_memory_bytes", 100)
        if number:
            meters.leave()
        os._exit(0)
    os.wait()
meters.count("captures", complete="false")
print(urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode())
print("FOLDER", os.environ[meters.FOLDER])
meters.serve_if_wanted(Settings(metrics_port=port))
"""


def test_children_are_added_up_and_what_those_hold_that_left_is_not(checkout: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if "PROMETHEUS" not in name}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=checkout,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    lines = done.stdout.splitlines()
    assert 'broadsheet_captures_total{complete="true"} 3.0' in lines
    assert 'broadsheet_captures_total{complete="false"} 1.0' in lines
    assert 'broadsheet_task_seconds_count{kind="render"} 3.0' in lines
    assert "broadsheet_browser_memory_bytes 100.0" in lines
    folder = next(line.partition(" ")[2] for line in lines if line.startswith("FOLDER"))
    # It goes with the process that made it.
    assert not Path(folder).exists()
    # A port that is taken does not end anybody.
    assert "meters.not_served" in done.stderr + done.stdout
