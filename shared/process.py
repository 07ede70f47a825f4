"""What every process does first: read its settings, log in one form, agree on time zones."""

from __future__ import annotations

import sys
import zoneinfo
from collections.abc import Mapping

from shared import log, s3, traces
from shared.errors import SettingsError
from shared.settings import Settings


def begin(name: str, environ: Mapping[str, str], *required: str) -> Settings:
    """Return the settings, or end the process with a sentence per fault on standard error.

    `required` are fields of `Settings` that this process cannot do without. Time zones are read
    from the `tzdata` package alone: the system's data may be of another release, and a slot
    must not depend on which machine computes it.
    """
    try:
        settings = Settings.from_environment(environ, needs=required)
        traces.check(settings, environ)
        s3.check_installed(settings)
    except SettingsError as exc:
        sys.stderr.write(f"broadsheet {name} cannot start:\n{exc.message}\n")
        raise SystemExit(2) from exc
    zoneinfo.reset_tzpath(to=())
    log.configure(settings, process=name)
    return settings
