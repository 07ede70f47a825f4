from __future__ import annotations

import runpy

import pytest

from api.services import NEEDED

VARIABLES = {
    "BROADSHEET_DATABASE_URL": "postgresql://127.0.0.1/none",
    "BROADSHEET_REDIS_URL": "redis://127.0.0.1/0",
    "BROADSHEET_GRAFANA_URL": "http://127.0.0.1:1",
    "BROADSHEET_GRAFANA_TOKEN": "t",
}


@pytest.mark.parametrize("module", ["api.gunicorn_conf", "api.wsgi"])
@pytest.mark.parametrize("missing", VARIABLES)
def test_without_a_setting_that_it_needs_the_api_ends_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], module: str, missing: str
) -> None:
    """Both are read by gunicorn, and another WSGI server reads only the second."""
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(missing)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(module)
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"broadsheet api cannot start:\n{missing} is not set.\n"


def test_the_table_above_names_every_setting_that_is_needed() -> None:
    assert {f"BROADSHEET_{name.upper()}" for name in NEEDED} == set(VARIABLES)
