"""Addresses in answers, as the caller reaches them."""

from __future__ import annotations

from flask import request


def here(path: str) -> str:
    """Return a path of ours below the sub-path, if any, that a trusted proxy says it is served at.

    `/api/reports/runs/1` becomes `/grafana/api/reports/runs/1`.
    """
    return request.script_root + path
