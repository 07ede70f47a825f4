"""Settings: strict, all faults at once, each a sentence that names its variable."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import trustme

from shared import s3
from shared.errors import SettingsError
from shared.settings import Rate, Settings

LEAST = {
    "BROADSHEET_DATABASE_URL": "postgresql://db/broadsheet",
    "BROADSHEET_REDIS_URL": "redis://redis:6379/0",
}


def parsed(**more: str) -> Settings:
    return Settings.from_environment(LEAST | {f"BROADSHEET_{k}": v for k, v in more.items()})


def faults(environ: dict[str, str], **options: tuple[str, ...]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment(environ, **options)
    return caught.value.message.splitlines()


def test_the_least_is_a_database_and_a_broker() -> None:
    settings = parsed()
    assert settings.database_url == "postgresql://db/broadsheet"
    assert settings.lease_seconds == 60
    assert faults({}) == [
        "BROADSHEET_DATABASE_URL is not set.",
        "BROADSHEET_REDIS_URL is not set.",
    ]


def test_a_command_that_needs_neither_starts_without() -> None:
    needs = ("grafana_url", "grafana_token")
    environ = {"BROADSHEET_GRAFANA_URL": "http://g", "BROADSHEET_GRAFANA_TOKEN": "t"}
    assert Settings.from_environment(environ, needs=needs).grafana_url == "http://g"
    assert faults({}, needs=needs) == [
        "BROADSHEET_GRAFANA_URL is not set.",
        "BROADSHEET_GRAFANA_TOKEN is not set.",
    ]


def test_every_fault_is_reported_at_once() -> None:
    found = faults(
        {
            "BROADSHEET_DATABASE_URL": "postgresql://db/x",
            "BROADSHEET_SMTP_PORT": "none",
            "BROADSHEET_RENDER_TIMEOUT": "0",
            "BROADSHEET_GRAFANA_URL": "grafana.example",
            "BROADSHEET_LOG_FORMAT": "yaml",
        }
    )
    named = [fault.partition(":")[0].partition(" ")[0] for fault in found]
    assert sorted(named) == [
        "BROADSHEET_GRAFANA_URL",
        "BROADSHEET_LOG_FORMAT",
        "BROADSHEET_REDIS_URL",
        "BROADSHEET_RENDER_TIMEOUT",
        "BROADSHEET_SMTP_PORT",
    ]
    assert all(fault.endswith(".") for fault in found)


def test_a_misspelt_variable_is_refused_with_the_one_that_was_meant() -> None:
    assert faults(LEAST | {"BROADSHEET_SMPT_HOST": "mail"}) == [
        "BROADSHEET_SMPT_HOST is not a setting of Broadsheet; did you mean BROADSHEET_SMTP_HOST?"
    ]


def test_a_variable_that_resembles_none_is_refused_without_a_guess() -> None:
    assert faults(LEAST | {"BROADSHEET_FOO": "1"}) == [
        "BROADSHEET_FOO is not a setting of Broadsheet. Unset it; README lists what there is."
    ]


@pytest.mark.parametrize(
    ("name", "value", "wants"),
    [
        ("SMTP_RATE", "abc", "must be a number."),
        ("SMTP_PORT", "1.5", "must be a whole number."),
        ("SMTP_PORT", "99999", "must be at least 1 and at most 65535."),
        ("LOG_FORMAT", "yaml", "must be one of: json, text."),
    ],
)
def test_a_value_that_is_none_is_told_what_it_must_be(name: str, value: str, wants: str) -> None:
    assert faults(LEAST | {f"BROADSHEET_{name}": value}) == [f"BROADSHEET_{name}: {wants}"]


def test_variables_of_others_are_none_of_our_business() -> None:
    assert Settings.from_environment(LEAST | {"PATH": "/bin", "GRAFANA_URL": "x"}) == parsed()


def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("glsa_abc\n")
    assert parsed(GRAFANA_TOKEN_FILE=str(secret)).grafana_token == "glsa_abc"


def test_a_file_that_cannot_be_read_is_named_with_its_variable(tmp_path: Path) -> None:
    missing = tmp_path / "none"
    assert faults(LEAST | {"BROADSHEET_GRAFANA_TOKEN_FILE": str(missing)}) == [
        f"BROADSHEET_GRAFANA_TOKEN_FILE names {str(missing)!r}, which is not readable."
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://db"),
        ("REDIS_URL", "amqp://mq"),
        ("REDIS_URL", "redis://h/x"),
        ("REDIS_URL", "redis://h:port/0"),
        ("REDIS_URL", "redis://:pa[ss@h/0"),
        ("REDIS_URL", "redis:///0"),
        ("SMTP_FROM", "nobody"),
        ("GRAFANA_URL", "http://[::1"),
        ("GRAFANA_URL", "http://h:port"),
        ("GRAFANA_URL", "http://h:99999"),
        ("GRAFANA_URL", "https://"),
    ],
)
def test_an_address_of_the_wrong_kind_is_refused(name: str, value: str) -> None:
    found = faults(LEAST | {f"BROADSHEET_{name}": value})
    assert [fault.partition(":")[0] for fault in found] == [f"BROADSHEET_{name}"]


@pytest.mark.parametrize(
    "url", ["redis://h", "redis://h:6379/", "rediss://u:p@h:1/15?ssl_cert_reqs=required"]
)
def test_a_broker_may_have_a_database_or_none(url: str) -> None:
    assert parsed(REDIS_URL=url).redis_url == url


def test_a_lease_is_longer_than_a_look_at_the_database() -> None:
    assert parsed(LEASE_SECONDS="1").lease_seconds == 1
    (fault,) = faults(LEAST | {"BROADSHEET_LEASE_SECONDS": "0.1"})
    assert fault.startswith("BROADSHEET_LEASE_SECONDS: ")


def test_secrets_do_not_show_when_settings_are_printed() -> None:
    settings = parsed(
        GRAFANA_TOKEN="hush1",
        GRAFANA_TOKENS='{"2": "hush4"}',
        SMTP_PASSWORD="hush2",
        GRAFANA_HEADERS='{"X-Key": "hush3"}',
    )
    assert "hush" not in repr(settings)
    assert "postgresql://" not in repr(settings)
    hidden = {field.name for field in dataclasses.fields(Settings) if not field.repr}
    assert hidden == {
        *("database_url", "database_session_url", "redis_url", "grafana_token", "smtp_password"),
        *("grafana_headers", "grafana_ca", "smtp_ca", "grafana_tokens", "secret_key"),
        *("s3_access_key", "s3_secret_key"),
    }


def test_settings_cannot_be_changed_after_the_start() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        parsed().smtp_host = "other"


def test_require_names_everything_that_is_empty() -> None:
    with pytest.raises(SettingsError) as caught:
        parsed(GRAFANA_URL="http://g").require("grafana_url", "grafana_token", "smtp_host")
    assert caught.value.message.splitlines() == [
        "BROADSHEET_GRAFANA_TOKEN is not set.",
        "BROADSHEET_SMTP_HOST is not set.",
    ]


def test_the_readme_lists_every_setting_with_its_default(checkout: Path) -> None:
    readme = (checkout / "README.md").read_text(encoding="utf-8")
    for field in dataclasses.fields(Settings):
        variable = f"`BROADSHEET_{field.name.upper()}`"
        rows = [line for line in readme.splitlines() if line.startswith(f"| {variable} ")]
        assert len(rows) == 1, f"README.md lacks a row for {variable}"
        default = field.default
        shown = f"{default:g}" if isinstance(default, float) else str(default or "")
        if isinstance(default, str | int | float) and shown:
            assert f"| `{shown}` |" in rows[0], f"README.md has another default for {variable}"


def test_a_switch_is_on_or_off() -> None:
    assert parsed(TRACES="true").traces
    assert not parsed(TRACES="off").traces
    assert faults(LEAST | {"BROADSHEET_TRACES": "maybe"}) == [
        "BROADSHEET_TRACES: must be true or false."
    ]


@pytest.mark.parametrize("token", ["glsa_…", "glsa_a\nb", "glsa_a b"])
def test_a_token_that_cannot_be_a_header_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({"BROADSHEET_GRAFANA_TOKEN": token}, needs=())
    assert "BROADSHEET_GRAFANA_TOKEN" in caught.value.message
    assert token not in caught.value.message


# What stands before Grafana


def test_headers_are_a_json_object_and_keep_their_order() -> None:
    settings = parsed(GRAFANA_HEADERS='{"X-Proxy-Key": "s3cret; a=b", "CF-Access-Client-Id": "x"}')
    assert settings.grafana_headers == (
        ("X-Proxy-Key", "s3cret; a=b"),
        ("CF-Access-Client-Id", "x"),
    )
    assert parsed().grafana_headers == ()


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("X-Key: s3cret", "must be a JSON object of texts"),
        ('["X-Key", "s3cret"]', "must be a JSON object of texts"),
        ('[["X-Key", "s3cret"]]', "must be a JSON object of texts"),
        ('{"X-Key": 7}', "must be a JSON object of texts"),
        ('{"X-Key": {"s3cret": "x"}}', "must be a JSON object of texts"),
        ('{"authorization": "Bearer s3cret"}', "Authorization is taken by the token"),
        ('{"X Key": "s3cret"}', "'X Key' is no header that can be added"),
        ('{"": "s3cret"}', "'' is no header that can be added"),
        ('{"Host": "s3cret"}', "'Host' is no header that can be added"),
        ('{"X-Key": "s3cret\\r\\nX-Other: y"}', "the value of X-Key must be one line"),
        ('{"X-Key": "s3cret…"}', "the value of X-Key must be one line"),
        ('{"X-Key": ""}', "the value of X-Key must be one line"),
        ('{"X-Key": "s3cret", "x-key": "s3cret"}', "X-Key is there twice"),
    ],
)
def test_headers_that_cannot_be_sent_are_refused_without_their_values(
    value: str, sentence: str
) -> None:
    (fault,) = faults(LEAST | {"BROADSHEET_GRAFANA_HEADERS": value})
    assert fault.startswith(f"BROADSHEET_GRAFANA_HEADERS: {sentence}")
    assert "s3cret" not in fault


def test_an_authority_is_given_as_a_file_of_certificates(tmp_path: Path) -> None:
    pem = trustme.CA().cert_pem.bytes().decode()
    (tmp_path / "ca.pem").write_text(f"# Für Grafana\n{pem}\n# Ende\n", encoding="utf-8")
    settings = parsed(GRAFANA_CA_FILE=str(tmp_path / "ca.pem"))
    assert settings.grafana_ca == pem.strip() == parsed(GRAFANA_CA=pem).grafana_ca


@pytest.mark.parametrize(
    "value",
    [
        "/etc/ssl/our-ca.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
        "Äußerst privat",
    ],
)
def test_what_is_no_certificate_is_refused_with_how_to_name_a_file(value: str) -> None:
    (fault,) = faults(LEAST | {"BROADSHEET_GRAFANA_CA": value})
    assert fault == (
        "BROADSHEET_GRAFANA_CA: must be certificates in PEM; a file of them is named by "
        "BROADSHEET_GRAFANA_CA_FILE."
    )


def test_a_browser_that_asks_itself_cannot_be_told_of_an_authority() -> None:
    pem = trustme.CA().cert_pem.bytes().decode()
    (fault,) = faults(
        LEAST | {"BROADSHEET_GRAFANA_ACCESS": "headers", "BROADSHEET_GRAFANA_CA": pem}
    )
    assert fault.startswith("BROADSHEET_GRAFANA_ACCESS: headers does not go with")
    (fault,) = faults(LEAST | {"BROADSHEET_GRAFANA_ACCESS": "cookie"})
    assert fault.startswith("BROADSHEET_GRAFANA_ACCESS: ")


def test_queries_at_one_grafana_are_not_capped_unless_asked_for() -> None:
    assert parsed().grafana_queries == 0
    assert parsed(GRAFANA_QUERIES="12").grafana_queries == 12
    assert faults(LEAST | {"BROADSHEET_GRAFANA_QUERIES": "-1"})


def test_keys_are_a_list_whose_first_signs_and_none_is_shown() -> None:
    settings = parsed(SECRET_KEY=f"{'n' * 16}, {'o' * 16}")
    assert settings.secret_key == ("n" * 16, "o" * 16)
    assert "nnn" not in repr(settings)
    [fault] = faults(LEAST | {"BROADSHEET_SECRET_KEY": f"{'n' * 16},hunter2"})
    assert fault.startswith("BROADSHEET_SECRET_KEY: each key must have at least 16 characters")
    assert "hunter2" not in fault


def test_keys_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k" * 32 + "\n")
    settings = Settings.from_environment(
        LEAST | {"BROADSHEET_SECRET_KEY_FILE": str(tmp_path / "key")}
    )
    assert settings.secret_key == ("k" * 32,)


def test_a_rate_may_be_a_fraction_and_none_is_no_limit() -> None:
    assert (parsed().smtp_rate, parsed(SMTP_RATE="0.5").smtp_rate) == (0, 0.5)
    for wrong in ("-1", "0.001", "fast"):
        [fault] = faults(LEAST | {"BROADSHEET_SMTP_RATE": wrong})
        assert fault.startswith("BROADSHEET_SMTP_RATE")


def test_each_organisation_has_its_own_token() -> None:
    settings = parsed(GRAFANA_TOKEN="one", GRAFANA_TOKENS='{"2": "two", "7": "seven"}')
    assert settings.org_ids == (1, 2, 7)
    assert [settings.for_org(org_id).grafana_token for org_id in (1, 2, 7)] == [
        *("one", "two", "seven")
    ]
    assert settings.for_org(7).grafana_org_id == 7
    with pytest.raises(SettingsError, match="organisation 3"):
        settings.for_org(3)
    only_second = parsed(GRAFANA_TOKENS='{"2": "two"}')
    assert only_second.require("grafana_token").org_ids == (2,)
    with pytest.raises(SettingsError, match="organisation 1"):
        only_second.for_org(1)


@pytest.mark.parametrize(
    "value",
    ["two", "[]", '{"zwei": "t"}', '{"0": "t"}', '{"2": 3}', '{"2": ""}', '{"2": "a b"}'],
)
def test_tokens_of_organisations_must_be_such(value: str) -> None:
    with pytest.raises(SettingsError, match="BROADSHEET_GRAFANA_TOKENS: must be a JSON object"):
        parsed(GRAFANA_TOKENS=value)


def test_an_organisation_has_one_token() -> None:
    with pytest.raises(SettingsError, match="twice"):
        parsed(GRAFANA_TOKENS='{"2": "a", "2": "b"}')
    with pytest.raises(SettingsError, match="GRAFANA_TOKENS: organisation 1 has its token"):
        parsed(GRAFANA_TOKEN="one", GRAFANA_TOKENS='{"1": "other"}')


def test_a_role_is_given_actions_or_fixed_roles() -> None:
    settings = parsed(
        EDITOR_PERMISSIONS="fixed:reports:reader, reports:create", VIEWER_PERMISSIONS=""
    )
    assert settings.editor_permissions == (
        *("reports:read", "reports:send", "reports.settings:read", "reports:create"),
    )
    assert settings.viewer_permissions == ()
    with pytest.raises(SettingsError, match="VIEWER_PERMISSIONS: 'admin' is none of"):
        parsed(VIEWER_PERMISSIONS="admin")


@pytest.mark.parametrize(
    ("text", "rate"),
    [("30/minute", Rate(30, 60)), ("1/second", Rate(1, 1)), ("500/day", Rate(500, 86_400))],
)
def test_a_limit_is_a_number_per_period_and_0_is_none(text: str, rate: Rate) -> None:
    assert parsed(RATE_LIMIT=text).rate_limit == rate
    assert str(rate) == text
    assert parsed(RATE_LIMIT="0", AUTH_FAILURE_LIMIT="0").rate_limit is None


@pytest.mark.parametrize("text", ["30", "0/minute", "30/fortnight", "many/minute", "-1/minute"])
def test_a_limit_that_is_none_is_refused(text: str) -> None:
    (fault,) = faults(LEAST | {"BROADSHEET_AUTH_FAILURE_LIMIT": text})
    assert fault.startswith("BROADSHEET_AUTH_FAILURE_LIMIT: must be a number per second, minute")


def test_domains_are_a_list_in_which_a_star_is_any_or_all_below() -> None:
    assert parsed().allowed_domains == ("*",)
    listed = parsed(ALLOWED_DOMAINS="example.org, *.example.com")
    assert listed.allowed_domains == ("example.org", "*.example.com")
    for wrong in ("a@example.org", "exa*mple.org", "*.", ","):
        (fault,) = faults(LEAST | {"BROADSHEET_ALLOWED_DOMAINS": wrong})
        assert fault.startswith("BROADSHEET_ALLOWED_DOMAINS: ")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "127.3.2.1"])
def test_a_password_in_clear_stays_on_this_machine(host: str) -> None:
    secret = {"SMTP_USER": "u", "SMTP_PASSWORD": "hush"}
    assert parsed(SMTP_HOST=host, **secret).smtp_security == "none"
    assert parsed(SMTP_HOST="mail.example", SMTP_SECURITY="starttls", **secret)
    assert parsed(SMTP_HOST="mail.example")
    with pytest.raises(SettingsError) as caught:
        parsed(SMTP_HOST="mail.example", **secret)
    assert caught.value.message == (
        "BROADSHEET_SMTP_SECURITY: none would send BROADSHEET_SMTP_PASSWORD over the network in "
        "clear; set it to starttls or tls."
    )


S3 = {"STORE": "s3", "S3_BUCKET": "documents"}


def test_a_store_is_postgres_unless_a_bucket_is_named() -> None:
    assert (parsed().store, parsed().uses_s3) == ("postgres", False)
    settings = parsed(**S3, S3_ENDPOINT="https://s3.example.org/", S3_PREFIX="broadsheet/")
    assert (settings.store, settings.s3_endpoint) == ("s3", "https://s3.example.org")
    # Only to read what was stored before.
    assert parsed(S3_BUCKET="documents").uses_s3


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ({"STORE": "s3"}, "S3_BUCKET is not set, and BROADSHEET_STORE is s3."),
        (S3 | {"STORE": "disk"}, "STORE: must be one of: postgres, s3."),
        (S3 | {"S3_BUCKET": "s3://documents"}, "S3_BUCKET: 's3://documents' is no name"),
        (S3 | {"S3_PREFIX": "/broadsheet"}, "S3_PREFIX: must be letters"),
        (S3 | {"S3_ENDPOINT": "minio:9000"}, "S3_ENDPOINT: must be an http:// or https://"),
        (S3 | {"S3_ENDPOINT": "http://me:pw@minio"}, "S3_ENDPOINT: must not hold a user"),
        (S3 | {"S3_ACCESS_KEY": "k"}, "S3_ACCESS_KEY and BROADSHEET_S3_SECRET_KEY go together"),
        (S3 | {"S3_SECRET_KEY": "k"}, "S3_ACCESS_KEY and BROADSHEET_S3_SECRET_KEY go together"),
        (S3 | {"S3_ADDRESSING": "host"}, "S3_ADDRESSING: must be one of: auto, path, virtual."),
    ],
)
def test_what_is_wrong_with_the_store_is_said_at_the_start(
    more: dict[str, str], fault: str
) -> None:
    [found] = faults(LEAST | {f"BROADSHEET_{name}": value for name, value in more.items()})
    assert found.startswith(f"BROADSHEET_{fault}")


def test_keys_of_the_store_come_from_files_and_are_never_shown(tmp_path: Path) -> None:
    for name in ("access", "secret"):
        (tmp_path / name).write_text(f"the-{name}-key\n")
    settings = parsed(
        **S3,
        S3_ACCESS_KEY_FILE=str(tmp_path / "access"),
        S3_SECRET_KEY_FILE=str(tmp_path / "secret"),
    )
    assert settings.s3_secret_key == "the-secret-key"
    assert "-key" not in repr(settings)


def test_a_bucket_without_the_library_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    s3.check_installed(parsed())
    with pytest.raises(SettingsError, match=r"BROADSHEET_S3_BUCKET.*pip install boto3"):
        s3.check_installed(parsed(**S3))


def test_a_value_and_a_file_of_the_same_setting_do_not_go_together(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("glsa_file")
    file = {"BROADSHEET_GRAFANA_TOKEN_FILE": str(tmp_path / "token")}
    (fault,) = faults(LEAST | file | {"BROADSHEET_GRAFANA_TOKEN": "glsa_value"})
    assert fault == (
        "BROADSHEET_GRAFANA_TOKEN and BROADSHEET_GRAFANA_TOKEN_FILE are both set; set one of the "
        "two."
    )
    assert parsed(GRAFANA_TOKEN="", GRAFANA_TOKEN_FILE=str(tmp_path / "token"))


@pytest.mark.parametrize("name", ["DATABASE_URL", "DATABASE_SESSION_URL"])
@pytest.mark.parametrize(
    "rest",
    [
        "bs:hush%ss@h/d",
        "bs:hush@h/d?sslmod=require",
        "bs:hush#1@h/d",
        "bs:hu@sh@h/d",
        "bs:p@hush/w#rd@h/d",
        "bs:p/hush@h/d",
        "bs:p?hush@h/d",
        "bs@h:hush/d",
    ],
)
def test_an_address_of_a_database_that_cannot_be_read_is_not_shown(name: str, rest: str) -> None:
    (fault,) = faults(LEAST | {f"BROADSHEET_{name}": f"postgresql://{rest}"})
    assert fault.startswith(f"BROADSHEET_{name}: cannot be read")
    assert "percent-encoded" in fault
    assert "hush" not in fault
    assert "sslmod" not in fault


@pytest.mark.parametrize(
    "rest",
    [
        "postgres@/postgres?host=/tmp/x",
        "bs:p%40ss%2Fw%23rd@h:5432/d?sslmode=require",
        "bs@[::1]:5432,h2:5433/d?target_session_attrs=read-write",
        "h/d?user=bs@server",
    ],
)
def test_an_address_of_a_database_may_be_any_that_libpq_reads(rest: str) -> None:
    for scheme in ("postgresql", "postgres"):
        url = f"{scheme}://{rest}"
        assert parsed(DATABASE_URL=url).database_url == url


@pytest.mark.parametrize("name", ["ALLOWED_HOSTS", "LOGO_HOSTS", "ALLOWED_DOMAINS"])
def test_hosts_and_domains_are_names_without_scheme_or_path(name: str) -> None:
    assert parsed(**{name: "a.example, b.example"})
    for wrong in ("http://a.example", "a.example/x", "a.example:80"):
        (fault,) = faults(LEAST | {f"BROADSHEET_{name}": f"b.example,{wrong}"})
        assert fault.startswith(f"BROADSHEET_{name}: ")
    assert parsed(LOGO_HOSTS="127.0.0.1,::1,[::1]").logo_hosts == ("127.0.0.1", "::1", "[::1]")


def test_the_host_of_the_mail_server_has_its_port_elsewhere() -> None:
    for host in ("mail", "mail.example", "10.0.0.1", "::1", "fe80::1%eth0"):
        assert parsed(SMTP_HOST=host).smtp_host == host
    for wrong in ("smtp://mail:25", "mail:25", "smtp://mail", "[::1]:25"):
        (fault,) = faults(LEAST | {"BROADSHEET_SMTP_HOST": wrong})
        assert fault.startswith("BROADSHEET_SMTP_HOST: must be the name or address of a host")
        assert fault.endswith("its port goes into BROADSHEET_SMTP_PORT.")


def test_what_is_about_a_bucket_goes_with_one() -> None:
    key = {"BROADSHEET_S3_ACCESS_KEY": "k", "BROADSHEET_S3_SECRET_KEY": "s"}
    found = faults(LEAST | key | {"BROADSHEET_S3_ENDPOINT": "http://minio:9000"})
    assert found == [
        f"BROADSHEET_{name} is set, and BROADSHEET_S3_BUCKET is not: name the bucket, or unset "
        f"BROADSHEET_{name}."
        for name in ("S3_ENDPOINT", "S3_ACCESS_KEY")
    ]


def test_a_sender_is_one_line() -> None:
    assert faults(LEAST | {"BROADSHEET_SMTP_FROM": "a@example.org\r\nBcc: b@example.org"}) == [
        "BROADSHEET_SMTP_FROM: must be one line, without a line break."
    ]
