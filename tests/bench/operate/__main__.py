"""Run all sections, or those that are named; end with 1 unless all is as it must be."""

from __future__ import annotations

import argparse
import signal
import sys

from tests.bench.operate import metrics

SECTIONS = {"metrics": metrics}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-operate", description="Figures to run it by.")
    parser.add_argument("sections", nargs="*", metavar="section", help=", ".join(SECTIONS))
    for name, section in SECTIONS.items():
        section.add_options(parser.add_argument_group(name))
    options = parser.parse_args()
    unknown = set(options.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"no such section: {min(unknown)}; there are {', '.join(SECTIONS)}")
    # Ended from outside, it still stops the servers that it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    good = True
    for name in options.sections or SECTIONS:
        print(f"\n== {name}", flush=True)
        good = SECTIONS[name].run(options) and good
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
