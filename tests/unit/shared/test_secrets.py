"""Settings: no secret in what they look like, and none in the sentences about wrong ones."""

from __future__ import annotations

import pytest

from shared.errors import SettingsError
from shared.settings import Settings

SECRET = "SECRETVALUE0123456789"
RIGHT = {
    "BROADSHEET_DATABASE_URL": f"postgresql://user:{SECRET}@host/db",
    "BROADSHEET_REDIS_URL": f"redis://:{SECRET}@host/0",
    "BROADSHEET_GRAFANA_TOKEN": SECRET,
    "BROADSHEET_GRAFANA_HEADERS": f'{{"X-Key": "{SECRET}"}}',
    "BROADSHEET_SMTP_PASSWORD": SECRET,
    "BROADSHEET_SECRET_KEY": f"{SECRET},{SECRET}2",
}


def test_settings_show_no_secret() -> None:
    settings = Settings.from_environment(RIGHT)
    for shown in (repr(settings), str(settings), f"{settings}"):
        assert "SECRET" not in shown


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DATABASE_URL", f"mysql://user:{SECRET}@host/db"),
        ("REDIS_URL", f"http://:{SECRET}@host/0"),
        ("REDIS_URL", f"redis://:{SECRET}@host:x/0"),
        ("REDIS_URL", f"redis://:{SECRET}@host/x"),
        ("GRAFANA_TOKEN", f"{SECRET} and more"),
        ("GRAFANA_HEADERS", SECRET),
        ("GRAFANA_HEADERS", f'{{"X-Key": "{SECRET}'),
        ("GRAFANA_HEADERS", f'{{"X-Key": "{SECRET}\\n"}}'),
        ("GRAFANA_HEADERS", f'{{"Authorization": "Bearer {SECRET}"}}'),
        ("GRAFANA_HEADERS", f'{{"X-Key": ["{SECRET}"]}}'),
        ("GRAFANA_HEADERS", f'{{"X-Key": "{SECRET}", "x-key": "{SECRET}"}}'),
        ("SECRET_KEY", "SECRET"),
        ("SECRET_KEY", f"{SECRET},SECRET"),
        ("GRAFANA_CA", f"-----BEGIN CERTIFICATE-----{SECRET}-----END CERTIFICATE-----"),
        ("GRAFANA_URL", f"https://user:{SECRET}@host"),
        ("GRAFANA_URL", f"https://{SECRET}@host"),
        ("GRAFANA_PUBLIC_URL", f"https://user:{SECRET}@host"),
        ("PUBLIC_URL", f"https://user:{SECRET}@host"),
    ],
)
def test_no_sentence_about_a_wrong_setting_shows_it(variable: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({**RIGHT, f"BROADSHEET_{variable}": value})
    assert f"BROADSHEET_{variable}" in caught.value.message
    assert "SECRET" not in caught.value.message.replace("BROADSHEET_SECRET_KEY", "")
