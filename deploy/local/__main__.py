"""`python -m deploy.local up` and `demo`: the commands behind `make up` and `make demo`."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

from deploy.local import demo
from deploy.local.processes import ProcessFault
from deploy.local.stack import CHECKOUT, Stack
from shared.errors import BroadsheetError
from shared.settings import PREFIX

LOOK = 0.5


def main() -> int:
    """Run the command; return its exit code."""
    options = _arguments().parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    # A shell starts its background jobs deaf to this one.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return up(options.folder) if options.command == "up" else demo.run(options.folder)
    except (ProcessFault, BroadsheetError) as exc:
        print(f"\n{exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; nothing is left running.", file=sys.stderr)
        return 130


def up(folder: Path) -> int:
    """Keep a stack running until a signal or a fault ends it."""
    print("Starting Broadsheet on this machine …", flush=True)
    variables, scrapes = folder / "up" / "environment", folder / "up" / "prometheus.yml"
    with Stack(folder / "up" / "log") as stack:
        _write(variables, stack.environ)
        scrapes.write_text(_scrape_configuration(stack.metrics))
        print(_welcome(stack, variables, scrapes), flush=True)
        try:
            while True:
                stack.check()
                time.sleep(LOOK)
        finally:
            variables.unlink(missing_ok=True)
            scrapes.unlink(missing_ok=True)


def _scrape_configuration(metrics: Mapping[str, str]) -> str:
    """Return what a Prometheus on this machine scrapes, as deploy/prometheus has it."""
    jobs = {
        "api": [metrics["api"]],
        "workers": [metrics["render"], metrics["deliver"]],
        "beat": [metrics["beat"]],
    }
    document = {
        # Short, so that what happens is seen at once. JSON is YAML.
        "global": {"scrape_interval": "5s", "evaluation_interval": "5s"},
        "rule_files": [str(CHECKOUT / "deploy" / "prometheus" / "alerts.yml")],
        "scrape_configs": [
            {"job_name": f"broadsheet-{job}", "static_configs": [{"targets": targets}]}
            for job, targets in jobs.items()
        ],
    }
    return json.dumps(document, indent=2) + "\n"


def _write(path: Path, environ: Mapping[str, str]) -> None:
    """Write Broadsheet's variables for a shell to read; they hold secrets of the stack."""
    path.unlink(missing_ok=True)
    lines = [
        f"export {name}={shlex.quote(value)}\n"
        for name, value in sorted(environ.items())
        if name.startswith(PREFIX)
    ]
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.writelines(lines)


def _welcome(stack: Stack, variables: Path, scrapes: Path) -> str:
    passed_over = "".join(
        f"\n  {name} is not used here: this stack has its own." for name in stack.passed_over
    )
    grafana = f"{stack.grafana_url}  (stand-in; sign in as admin / admin)"
    return f"""{passed_over}
  API        {stack.api_url}
  token      {stack.token}
  docs       {stack.api_url}/api/docs
  inbox      {stack.inbox_url}  (every mail ends here)
  Grafana    {grafana if stack.has_stand_in else stack.grafana_url}
  logs       {stack.logs}

Try what README shows, after:
  API={stack.api_url} TOKEN={stack.token}
  curl -H "Authorization: Bearer $TOKEN" $API/api/reports
And the command line, after:
  . {shlex.quote(str(variables))}
  {Path(sys.executable).with_name("broadsheet")} doctor
A Prometheus beside it, with our alerts:
  prometheus --web.listen-address=127.0.0.1:9090 --storage.tsdb.path=/tmp/prometheus \\
    --config.file={shlex.quote(str(scrapes))}

Ready after {stack.started_in:.1f} s. Ctrl-C stops everything, and what it stored is gone then.
"""


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description=__doc__)
    parser.add_argument("command", choices=("up", "demo"))
    parser.add_argument(
        "--folder",
        type=Path,
        default=CHECKOUT / "var",
        help="where logs and results go (default: var/ of the checkout)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
