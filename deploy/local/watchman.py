"""The watchman: ends what a stack leaves when it is killed and cannot do so itself.

`python -m deploy.local.watchman FOLDER` reads its standard input, which is a pipe that only the
stack holds open. At its end the stack is gone, in whatever way; what then belongs to its folder
is ended, and the folder is deleted.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from deploy.local import processes


def main() -> None:
    """Wait for the stack's end, then clean up after it."""
    folder = Path(sys.argv[1])
    sys.stdin.read()
    processes.sweep(folder)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
