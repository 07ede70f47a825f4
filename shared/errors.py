"""One tree of errors. The docstring of a class is its default message.

Whether a fault passes with time is part of its class: a `Transient` one is tried again, a
`Permanent` one is not. Errors of libraries are translated in the module that owns the library.
"""

from __future__ import annotations

import inspect


class BroadsheetError(Exception):
    """Broadsheet met an error it has no better name for."""

    def __init__(self, message: str | None = None) -> None:
        self.message = message or inspect.getdoc(type(self)) or ""
        super().__init__(self.message)


class Transient(BroadsheetError):
    """Something outside did not answer as it should; trying again later may help."""


class Permanent(BroadsheetError):
    """Something is wrong that trying again will not mend."""


class LostLease(BroadsheetError):
    """Another worker took this task over; what was done here is thrown away."""


class SettingsError(Permanent):
    """A setting is missing or wrong."""


class NotFound(Permanent):
    """There is no such thing."""


class DatabaseAway(Transient):
    """The database does not answer; check BROADSHEET_DATABASE_URL and that Postgres is up."""


class NotMigrated(Transient):
    """The database is not at this release's version; run `broadsheet migrate`."""


class QueueAway(Transient):
    """The message broker does not answer; check BROADSHEET_REDIS_URL and that Redis is up."""


class GrafanaAway(Transient):
    """Grafana does not answer; check BROADSHEET_GRAFANA_URL and that Grafana is up."""


class GrafanaRefused(Permanent):
    """Grafana refuses the service account token; check BROADSHEET_GRAFANA_TOKEN."""


class DashboardNotFound(Permanent):
    """Grafana has no such dashboard."""


class DashboardForbidden(Permanent):
    """Grafana does not let the service account see this dashboard."""
