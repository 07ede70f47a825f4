"""`python -m deploy.local.grafana`: run the stand-in until a signal ends it."""

import argparse
import signal
import threading

from deploy.local.grafana.server import StandIn


def main() -> None:
    """Start, say where, wait for SIGTERM or SIGINT, stop."""
    options = _arguments().parse_args()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with StandIn(
        options.frontend, host=options.host, port=options.port, sub_path=options.sub_path
    ) as grafana:
        print(f"listening on {grafana.url}", flush=True)
        if not options.quiet:
            print(_welcome(grafana), flush=True)
        ended.wait()


def _welcome(grafana: StandIn) -> str:
    tokens = "\n".join(f"  {label:10} {token}" for label, token in grafana.tokens.items())
    people = f"stand-in for Grafana {grafana.version}; people sign in as admin / admin"
    return f"{people}\ntokens:\n{tokens}"


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.local.grafana", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=3000, help="0 takes any free one")
    parser.add_argument("--frontend", choices=("legacy", "scenes"), default="scenes")
    parser.add_argument(
        "--sub-path", default="", help="serve below this path, as behind a reverse proxy"
    )
    parser.add_argument("--quiet", action="store_true", help="print the address only")
    return parser


if __name__ == "__main__":
    main()
