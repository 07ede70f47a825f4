"""How a worker starts, or does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_a_worker_of_a_queue_that_there_is_not_ends_and_names_those_there_are(
    environ: dict[str, str], checkout: Path
) -> None:
    needed = {
        "BROADSHEET_GRAFANA_URL": "http://127.0.0.1:9",
        "BROADSHEET_GRAFANA_TOKEN": "none",
        "BROADSHEET_SMTP_HOST": "127.0.0.1",
    }
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            *["celery", "-q", "-A", "workers.app", "worker", "-Q", "rendering", "-c", "1"],
        ],
        cwd=checkout,
        env=os.environ | environ | needed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "-Q rendering: there is no such queue; there are deliver, deliver.inter" in done.stderr
    assert "Traceback" not in done.stderr
