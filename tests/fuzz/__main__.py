"""`python -m tests.fuzz --requests 10000 --seed 7`, or `make fuzz`.

The API on a real Postgres, with two organisations in it, gets requests that are made up. None may
be answered with a fault of ours, with anything of another organisation, or not at all.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from deploy.local import services
from shared import db, log
from shared.migrate import migrate
from shared.settings import Settings
from tests.fuzz.scene import build
from tests.fuzz.throw import throw


def main() -> None:
    """Throw, report, and end with 1 at the first answer that must not be."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--requests", type=int, default=11_000, help="about so many")
    parser.add_argument("--seed", type=int, default=None, help="of everything that is made up")
    options = parser.parse_args()
    seed = random.randrange(1_000_000) if options.seed is None else options.seed
    print(f"seed {seed}, {options.requests:,} requests", flush=True)
    settings = Settings(log_level="ERROR", log_format="text")
    log.configure(settings, process="fuzz")
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="fuzz-") as folder,
        services.postgres(Path(folder, "postgres")) as url,
    ):
        migrate(url)
        pool = db.open_pool(url, max_size=4, application="fuzz")
        try:
            found = throw(build(settings, pool), requests=options.requests, seed=seed)
        except AssertionError as exc:
            sys.exit(f"seed {seed}: {exc}")
        finally:
            pool.close()
    for status, count in sorted(found.statuses.items()):
        print(f"  {status}  {count:,}")
    print(
        f"{found.requests:,} requests in {time.monotonic() - began:.0f} s, the slowest "
        f"{found.slowest * 1000:.0f} ms: no fault, nothing of another organisation, none hung"
    )


if __name__ == "__main__":
    main()
