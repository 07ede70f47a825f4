"""Settings: parsed once, strictly, from `BROADSHEET_*` variables into a frozen object.

Only the entry points (`*/app.py`, `api/wsgi.py`, the command line) call `from_environment`;
everything else is given a `Settings` or a part of one. Every fault is reported at once, each
naming its variable. A secret may come from a file: `BROADSHEET_GRAFANA_TOKEN_FILE=/run/…`.
"""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
import json
import re
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from environs import EnvError, FileAwareEnv, validate

from shared import permissions
from shared.errors import SettingsError

PREFIX = "BROADSHEET_"
PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
#: What may stand in a header as it is.
WORD = re.compile(r"[!-~]+")
ORG_ID = re.compile(r"[1-9]\d{0,8}", re.ASCII)
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
HEADER_VALUE = re.compile(r"[!-~]([ -~]*[!-~])?")
#: How much a misspelt name has in common with the one that was meant, besides the prefix.
CLOSE = 0.85
#: A mail every hundred seconds.
SLOWEST = 0.01
#: Of a key that nobody can guess.
SHORTEST_KEY = 16
#: What one report can have at all; the settings may allow less.
MAX_RECIPIENTS = 500
MAX_DASHBOARDS = 50
#: The periods of a limit such as "30/minute", in seconds.
PERIODS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}
#: A rule for domains: "example.org", "*.example.org" (what is below it), or "*".
DOMAIN_RULE = re.compile(r"\*|(?:\*\.)?(?:\[[^\s@*/]+\]|[^\s@*/:]+)")
#: A percent sign that encodes nothing, or the byte that no text of libpq can hold.
BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")
HOST_OF_DATABASE = re.compile(r"(?:\[[0-9A-Za-z:.%_-]+\]|[^\[\]:]*)(?::\d*)?", re.ASCII)
#: What libpq knows, up to that of PostgreSQL 18. Said here since a capture needs no psycopg.
LIBPQ_OPTION = re.compile(
    r"""
    application_name | channel_binding | client_encoding | connect_timeout | dbname |
    fallback_application_name | gssdelegation | gssencmode | gsslib | host | hostaddr |
    keepalives | keepalives_count | keepalives_idle | keepalives_interval | krbsrvname |
    load_balance_hosts | max_protocol_version | min_protocol_version | oauth_client_id |
    oauth_client_secret | oauth_issuer | oauth_scope | options | passfile | password | port
    | replication | require_auth | requirepeer | requiressl | scram_client_key |
    scram_server_key | service | servicefile | ssl | ssl_max_protocol_version |
    ssl_min_protocol_version | sslcert | sslcertmode | sslcompression | sslcrl | sslcrldir |
    sslkey | sslkeylogfile | sslmode | sslnegotiation | sslpassword | sslrootcert | sslsni |
    target_session_attrs | tcp_user_timeout | user
    """,
    re.VERBOSE,
)
#: A host's name or IPv4 address, and nothing else of an address.
HOST = re.compile(r"[^\s/:@?#\[\]]+")
#: A bucket's name, as Amazon and others have allowed it.
BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
OBJECT_PREFIX = re.compile(r"[A-Za-z0-9._-][A-Za-z0-9._/-]{0,199}")
#: Headers that are about one request or one connection, and are whoever's who makes it.
RESERVED_HEADERS = {
    *("accept", "accept-encoding", "content-length", "content-type", "host"),
    *("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Rate:
    """So many calls in a period, which is in seconds."""

    calls: int
    period: int

    def __str__(self) -> str:
        names = {seconds: name for name, seconds in PERIODS.items()}
        return f"{self.calls}/{names[self.period]}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One field per variable: `grafana_url` is read from `BROADSHEET_GRAFANA_URL`.

    Times are in seconds, sizes in bytes unless the name says otherwise.
    """

    database_url: str = dataclasses.field(default="", repr=False)
    #: The same database without a pooler between; empty: `database_url` has none.
    database_session_url: str = dataclasses.field(default="", repr=False)
    redis_url: str = dataclasses.field(default="", repr=False)
    grafana_url: str = ""
    grafana_token: str = dataclasses.field(default="", repr=False)
    #: Where a reader of a mail opens Grafana; the address that workers use may be internal.
    grafana_public_url: str = ""
    grafana_timeout: float = 30.0
    #: "gateway", or "headers": the browser asks itself, with the token added to each request.
    grafana_access: str = "gateway"
    #: Headers for what stands before Grafana; they may be as secret as the token.
    grafana_headers: tuple[tuple[str, str], ...] = dataclasses.field(default=(), repr=False)
    #: Certificates in PEM that are trusted besides the usual ones. Long, so not shown.
    grafana_ca: str = dataclasses.field(default="", repr=False)
    #: Queries under way at once at this Grafana, by all workers; 0: each capture's own cap only.
    grafana_queries: int = 0
    #: Captures under way at once at this Grafana, by all workers; 0: as many as there are slots.
    grafana_captures: int = 0
    #: The organisation of Grafana that `grafana_token` belongs to.
    grafana_org_id: int = 1
    #: Tokens of further organisations, by their ids: each sees its own dashboards only.
    grafana_tokens: tuple[tuple[int, str], ...] = dataclasses.field(default=(), repr=False)
    #: How long an answer of Grafana counts of who a caller is and what he may do.
    identity_seconds: float = 30.0
    #: What a role of Grafana may do here: actions, or names of fixed roles; Admins may everything.
    editor_permissions: tuple[str, ...] = ()
    viewer_permissions: tuple[str, ...] = ()
    #: A file that a worker or beat touches every few seconds as long as its loop goes round.
    alive_file: str = ""
    #: Where workers and beat tell Prometheus of themselves; 0: nowhere. The API does so itself.
    metrics_address: str = "127.0.0.1"
    metrics_port: int = 0
    #: For how long documents and the history of runs are kept, 0: for ever; and how much of the
    #: former, 0: any.
    document_days: int = 90
    run_days: int = 365
    storage_mb: int = 0
    #: How many runs are kept at most, the newest; 0: any number.
    run_rows: int = 0
    #: How long it is kept who did what; and how many records of it, 0: any number.
    audit_days: int = 365
    audit_rows: int = 0
    #: Where new documents lie: "postgres" or "s3". Old ones are read from where they are.
    store: str = "postgres"
    s3_bucket: str = ""
    #: What the names of our objects begin with, "/" at its end or none.
    s3_prefix: str = ""
    #: Of an S3-compatible server; empty: of Amazon, by region.
    s3_endpoint: str = ""
    s3_region: str = ""
    #: Without them, boto3 looks where it always does: its own variables and files, roles.
    s3_access_key: str = dataclasses.field(default="", repr=False)
    s3_secret_key: str = dataclasses.field(default="", repr=False)
    #: The bucket in the path of an address, or in its host; "auto": as the endpoint wants it.
    s3_addressing: str = "auto"
    #: For one answer of the store.
    s3_timeout: float = 20.0
    #: Extra hosts that the page may load from (map tiles, images), comma separated.
    allowed_hosts: tuple[str, ...] = ()
    #: Hosts that logos may be fetched from although they are inside, comma separated.
    logo_hosts: tuple[str, ...] = ()
    #: Queries of one capture that may be under way at once.
    capture_concurrency: int = 20
    chromium: str = ""
    #: "auto": on, but not as root, and off with a warning where it cannot start.
    chromium_sandbox: str = "auto"
    #: A browser that holds more after a capture is replaced by a new one.
    browser_memory_mb: int = 1_500
    render_timeout: float = 60.0
    #: Attempts per capture or assembly before the run has failed; mail is tried for a day.
    max_attempts: int = 3
    #: A worker that has not renewed its task for so long is given up, and another takes it over.
    lease_seconds: float = 60.0
    smtp_host: str = ""
    smtp_port: int = 25
    smtp_user: str = ""
    smtp_password: str = dataclasses.field(default="", repr=False)
    #: "none", "starttls" or "tls" (from the first byte, usually port 465).
    smtp_security: str = "none"
    #: Certificates in PEM that the mail server's may come from, besides the usual ones.
    smtp_ca: str = dataclasses.field(default="", repr=False)
    smtp_timeout: float = 60.0
    smtp_from: str = "Broadsheet <broadsheet@localhost>"
    #: Mails per second and connections at once, of all mailers together; 0: as many as there are.
    smtp_rate: float = 0.0
    smtp_connections: int = 0
    #: Where readers of a mail reach our API, for its download links; empty: there are none.
    public_url: str = ""
    link_days: int = 7
    #: What signs those links; the first signs, all are accepted. None: a key in the database.
    secret_key: tuple[str, ...] = dataclasses.field(default=(), repr=False)
    #: How long `POST /api/reports/email` waits before it answers 504 and lets the run go on.
    wait_timeout: float = 110.0
    #: Such calls at once per process, and requested runs under way at once per organisation.
    wait_slots: int = 64
    max_body_bytes: int = 1_048_576
    #: Reverse proxies before the API, each of which says whom it speaks for; 0: none is believed.
    trusted_proxies: int = 0
    #: Domains that reports may go to; see `shared.domains`.
    allowed_domains: tuple[str, ...] = ("*",)
    max_recipients: int = MAX_RECIPIENTS
    max_dashboards: int = MAX_DASHBOARDS
    #: Calls that render or mail, of one caller; None: as many as there are slots for.
    rate_limit: Rate | None = Rate(60, 60)
    #: Failed authentications of one client address; None: as many as it likes.
    auth_failure_limit: Rate | None = Rate(30, 60)
    max_attachment_size_mb: int = 10
    catchup_seconds: int = 86_400
    #: A run that is not rendered so long after it might have begun is given up, visibly.
    run_timeout: float = 21_600.0
    #: Spans of OpenTelemetry, to the collector that its own variables name.
    traces: bool = False
    log_level: str = "INFO"
    log_format: str = "json"

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str], *, needs: Sequence[str] = ("database_url", "redis_url")
    ) -> Settings:
        """Parse `environ`, or raise `SettingsError` with one line per fault.

        `needs` are the settings without which the caller cannot start.
        """
        return cls(**_parse(environ, needs))

    def require(self, *names: str) -> Settings:
        """Return self, or raise `SettingsError` naming each of `names` that is empty."""
        missing = _missing({name: self._given(name) for name in names})
        if missing:
            raise SettingsError("\n".join(missing))
        return self

    @property
    def is_pooled(self) -> bool:
        """Whether a pooler may give each transaction of `database_url` another session."""
        return bool(self.database_session_url)

    @property
    def session_url(self) -> str:
        """Where a session stays one: for listening, and for locks that outlive a transaction."""
        return self.database_session_url or self.database_url

    @property
    def org_ids(self) -> tuple[int, ...]:
        """The organisations whose dashboards can be read, that of `grafana_token` first."""
        first = (self.grafana_org_id,) if self.grafana_token else ()
        return (*first, *(org_id for org_id, _ in self.grafana_tokens))

    def for_org(self, org_id: int) -> Settings:
        """Return the settings as they are for one organisation: with its token in `grafana_token`.

        Raises `SettingsError` where it has none.
        """
        if org_id == self.grafana_org_id and self.grafana_token:
            return self
        token = dict(self.grafana_tokens).get(org_id)
        if token is None:
            raise SettingsError(
                f"There is no service account token of organisation {org_id}, so none of its "
                f"dashboards can be read; an operator adds one to {PREFIX}GRAFANA_TOKENS."
            )
        return dataclasses.replace(self, grafana_token=token, grafana_org_id=org_id)

    @property
    def uses_s3(self) -> bool:
        """Whether there is an S3-compatible store, be it only to read older documents from."""
        return bool(self.s3_bucket)

    def _given(self, name: str) -> Any:
        """Return the value of a setting; the token of any organisation stands for the first."""
        value = getattr(self, name)
        return value or (self.grafana_tokens if name == "grafana_token" else value)


class _Environment(FileAwareEnv):
    """environs reading a mapping that is handed in, not the process's environment."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__(eager=False, prefix=PREFIX, strip_whitespace=True)
        self.source = environ

    def _get_value(self, env_key: str, default: Any) -> Any:
        path = self.source.get(f"{env_key}_FILE")
        if path and self.source.get(env_key):
            raise SettingsError(f"{env_key} and {env_key}_FILE are both set; set one of the two.")
        if not path:
            return self.source.get(env_key, default)
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as exc:
            # environs only turns ValueErrors of parsing into faults, and this one comes before.
            raise SettingsError(f"{env_key}_FILE names {path!r}, which is not readable.") from exc


def _missing(values: Mapping[str, Any]) -> list[str]:
    return [f"{PREFIX}{name.upper()} is not set." for name, value in values.items() if not value]


def _parse(environ: Mapping[str, str], needs: Sequence[str]) -> dict[str, Any]:
    fields = {field.name: field for field in dataclasses.fields(Settings)}
    env = _Environment(environ)
    faults = _unknown(environ, set(fields))
    values: dict[str, Any] = {}
    for name, field in fields.items():
        try:
            values[name] = _READERS[name](env, name.upper(), field.default)
        except SettingsError as exc:
            faults.append(exc.message)
    try:
        env.seal()
    except EnvError as exc:
        faults += _sentences(exc)
    given = {**values, "grafana_token": values.get("grafana_token") or values.get("grafana_tokens")}
    faults += _missing({name: given[name] for name in needs if name in values})
    if not faults:
        faults += _cross_checks(values)
    if faults:
        raise SettingsError("\n".join(faults))
    return values


def _unknown(environ: Mapping[str, str], names: set[str]) -> list[str]:
    known = [PREFIX + name.upper() for name in sorted(names)]
    faults = []
    for variable in environ:
        bare = variable.removesuffix("_FILE")
        if not variable.startswith(PREFIX) or variable in known or bare in known:
            continue
        near = difflib.get_close_matches(variable, known, n=1, cutoff=CLOSE)
        hint = f"; did you mean {near[0]}?" if near else ". Unset it; README lists what there is."
        faults.append(f"{variable} is not a setting of Broadsheet{hint}")
    return faults


def _sentences(exc: EnvError) -> list[str]:
    messages = getattr(exc, "error_messages", None) or {"": [str(exc)]}
    return [
        f"{variable}: {_plain(str(message))}."
        for variable, texts in messages.items()
        for message in texts
    ]


def _plain(message: str) -> str:
    """Return the sentence of environs or marshmallow in the words of ours."""
    text = message.rstrip(".").replace("Not a valid", "must be a")
    text = text.replace("must be a integer", "must be a whole number")
    text = text.replace("must be a boolean", "must be true or false")
    text = text.replace("greater than or equal to", "at least")
    text = text.replace("less than or equal to", "at most")
    return text[:1].lower() + text[1:]


def _url(env: FileAwareEnv, variable: str, default: Any) -> str:
    value: str = env.str(variable, default)
    if value and not _is_address(value, "http", "https"):
        raise SettingsError(f"{PREFIX}{variable}: must be an http:// or https:// address.")
    if "@" in urlsplit(value).netloc:
        # Errors, logs and mails name the address, so it must not be a secret.
        raise SettingsError(f"{PREFIX}{variable}: must not hold a user or a password.")
    return value.rstrip("/")


def _is_address(value: str, *schemes: str) -> bool:
    """Whether it is an address of one of these schemes, with a host and, if any, a real port."""
    try:
        parts = urlsplit(value)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _text(env: FileAwareEnv, variable: str, default: Any) -> str:
    return str(env.str(variable, default))


def _list(env: FileAwareEnv, variable: str, default: Any) -> tuple[str, ...]:
    return tuple(item.strip() for item in env.list(variable, list(default)) if item.strip())


def _is_host(value: str) -> bool:
    """Whether it is a name or an IP address alone, an IPv6 one without brackets."""
    if HOST.fullmatch(value):
        return True
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def _hosts(env: FileAwareEnv, variable: str, default: Any) -> tuple[str, ...]:
    hosts = _list(env, variable, default)
    for host in hosts:
        if not _is_host(re.sub(r"^\[(.*:.*)\]$", r"\1", host)):
            raise SettingsError(
                f"{PREFIX}{variable}: must be names of hosts alone, without http://, port or path, "
                "such as tiles.example.org, separated by commas."
            )
    return hosts


def _mail_host(env: FileAwareEnv, variable: str, default: Any) -> str:
    host = _text(env, variable, default)
    if host and not _is_host(host):
        raise SettingsError(
            f"{PREFIX}{variable}: must be the name or address of a host alone, such as "
            f"mail.example.org (IPv6 without brackets); its port goes into {PREFIX}SMTP_PORT."
        )
    return host


def _sender(env: FileAwareEnv, variable: str, default: Any) -> str:
    text = _text(env, variable, default)
    if len(text.splitlines()) > 1:
        raise SettingsError(f"{PREFIX}{variable}: must be one line, without a line break.")
    return text


def _database(env: FileAwareEnv, variable: str, default: Any) -> str:
    """Read the address of a database. No sentence shows any of it: it holds a password."""
    text = _text(env, variable, default)
    if text and not text.startswith(("postgresql://", "postgres://")):
        raise SettingsError(f"{PREFIX}{variable}: must start with postgresql://.")
    if text and not _is_database(text):
        raise SettingsError(
            f"{PREFIX}{variable}: cannot be read; it must be a postgresql:// address with known "
            "options only, and what is special in user and password must be percent-encoded "
            "(%40 for @, %2F for /, %23 for #, %25 for %)."
        )
    return text


def _is_database(value: str) -> bool:
    rest = value.partition("://")[2]
    # libpq takes "@" for the end of the password and so a part of the latter for a host.
    authority = re.split(r"[/?]", rest, maxsplit=1)[0]
    path, _, options = rest[len(authority) :].partition("?")
    if "#" in rest or authority.count("@") > 1 or "@" in path:
        return False
    if not path and "@" in options and "@" not in authority:
        # A "?" of the password, which libpq and others read differently.
        return False
    hosts = authority.rpartition("@")[2].split(",")
    return (
        not BAD_PERCENT.search(rest)
        and not re.search(r"\s", rest)
        and all(HOST_OF_DATABASE.fullmatch(host) for host in hosts)
        and all(
            LIBPQ_OPTION.fullmatch(name) and given and "=" not in value
            for name, given, value in (part.partition("=") for part in options.split("&") if part)
        )
    )


def _headers(env: FileAwareEnv, variable: str, default: Any) -> tuple[tuple[str, str], ...]:
    """Read `{"Name": "value"}`. No sentence shows a value: they may be secret."""
    text = _text(env, variable, "")
    if not text:
        return tuple(default)
    try:
        # Pairs, so that nothing is lost that is there twice.
        pairs = json.loads(text, object_pairs_hook=_Pairs)
    except ValueError:
        pairs = None
    if not isinstance(pairs, _Pairs) or not all(isinstance(value, str) for _, value in pairs):
        raise SettingsError(
            f'{PREFIX}{variable}: must be a JSON object of texts, such as {{"X-Proxy-Key": "…"}}.'
        )
    names = [name.lower() for name, _ in pairs]
    for name, value in pairs:
        if name.lower() == "authorization":
            raise SettingsError(
                f"{PREFIX}{variable}: Authorization is taken by the token "
                f"({PREFIX}GRAFANA_TOKEN), and Grafana reads that from no other header."
            )
        if not HEADER_NAME.fullmatch(name) or name.lower() in RESERVED_HEADERS:
            raise SettingsError(f"{PREFIX}{variable}: {name!r} is no header that can be added.")
        if not HEADER_VALUE.fullmatch(value):
            raise SettingsError(
                f"{PREFIX}{variable}: the value of {name} must be one line of plain letters, "
                "digits and signs."
            )
        if names.count(name.lower()) > 1:
            raise SettingsError(f"{PREFIX}{variable}: {name} is there twice.")
    return tuple(pairs)


def _tokens(env: FileAwareEnv, variable: str, default: Any) -> tuple[tuple[int, str], ...]:
    """Read `{"2": "glsa_…"}`, tokens by organisation. No sentence shows one."""
    text = _text(env, variable, "")
    if not text:
        return tuple(default)
    try:
        pairs = json.loads(text, object_pairs_hook=_Pairs)
    except ValueError:
        pairs = None
    if not isinstance(pairs, _Pairs) or not all(
        ORG_ID.fullmatch(org_id) and isinstance(token, str) and WORD.fullmatch(token)
        for org_id, token in pairs
    ):
        raise SettingsError(
            f"{PREFIX}{variable}: must be a JSON object of service account tokens by the ids of "
            'their organisations, such as {"2": "glsa_…"}.'
        )
    ids = [int(org_id) for org_id, _ in pairs]
    if len(set(ids)) < len(ids):
        raise SettingsError(f"{PREFIX}{variable}: an organisation is there twice.")
    return tuple((int(org_id), token) for org_id, token in pairs)


def _actions(env: FileAwareEnv, variable: str, default: Any) -> tuple[str, ...]:
    """Read actions and names of fixed roles; return the actions."""
    found: list[str] = []
    for name in _list(env, variable, default):
        if name not in permissions.ACTIONS and name not in permissions.FIXED_ROLES:
            known = ", ".join((*permissions.FIXED_ROLES, *permissions.ACTIONS))
            raise SettingsError(f"{PREFIX}{variable}: {name!r} is none of {known}.")
        found += permissions.FIXED_ROLES.get(name, (name,))
    return tuple(dict.fromkeys(found))


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as it was written."""


def _certificates(env: FileAwareEnv, variable: str, default: Any) -> str:
    """Read certificates; what stands around them, often in no alphabet of PEM, is left out."""
    text = _text(env, variable, default)
    found = "\n".join(PEM.findall(text))
    if text:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=found)
        except (ssl.SSLError, ValueError, TypeError) as exc:
            raise SettingsError(
                f"{PREFIX}{variable}: must be certificates in PEM; a file of them is named by "
                f"{PREFIX}{variable}_FILE."
            ) from exc
    return found


def _at_least(low: float) -> Any:
    def read(env: FileAwareEnv, variable: str, default: Any) -> Any:
        return env.float(variable, default, validate=validate.Range(min=low, max=86_400))

    return read


_seconds = _at_least(0.1)


def _rate(env: FileAwareEnv, variable: str, default: Any) -> Any:
    value = env.float(variable, default, validate=validate.Range(min=0, max=10_000))
    if value is not None and 0 < value < SLOWEST:
        raise SettingsError(f"{PREFIX}{variable}: must be 0 (no limit) or at least {SLOWEST}.")
    return value


def _keys(env: FileAwareEnv, variable: str, default: Any) -> tuple[str, ...]:
    """Read keys, the newest first. No sentence shows one."""
    keys = _list(env, variable, default)
    if any(len(key) < SHORTEST_KEY for key in keys):
        raise SettingsError(
            f"{PREFIX}{variable}: each key must have at least {SHORTEST_KEY} characters; "
            "`openssl rand -hex 32` makes one."
        )
    return keys


def _whole(low: int, high: int) -> Any:
    def read(env: FileAwareEnv, variable: str, default: Any) -> Any:
        return env.int(variable, default, validate=validate.Range(min=low, max=high))

    return read


def _limit(env: FileAwareEnv, variable: str, default: Any) -> Rate | None:
    """Read "30/minute"; 0 is no limit."""
    text = _text(env, variable, default)
    if text == "0":
        return None
    found = re.fullmatch(r"(\d{1,6})/([a-z]+)", text, re.ASCII)
    if not found or not int(found[1]) or found[2] not in PERIODS:
        raise SettingsError(
            f'{PREFIX}{variable}: must be a number per {", ".join(PERIODS)}, such as "30/minute", '
            "or 0 for no limit."
        )
    return Rate(int(found[1]), PERIODS[found[2]])


def _domains(env: FileAwareEnv, variable: str, default: Any) -> tuple[str, ...]:
    rules = _list(env, variable, default)
    for rule in rules:
        if not DOMAIN_RULE.fullmatch(rule):
            raise SettingsError(
                f"{PREFIX}{variable}: {rule!r} is no domain; write example.org, *.example.org for "
                "all below it, or * for any, separated by commas."
            )
    if not rules:
        raise SettingsError(f"{PREFIX}{variable}: is empty; * allows every domain.")
    return rules


def _switch(env: FileAwareEnv, variable: str, default: Any) -> Any:
    return env.bool(variable, default)


def _bucket(env: FileAwareEnv, variable: str, default: Any) -> str:
    text = _text(env, variable, default)
    if text and not BUCKET.fullmatch(text):
        raise SettingsError(f"{PREFIX}{variable}: {text!r} is no name of a bucket.")
    return text


def _prefix(env: FileAwareEnv, variable: str, default: Any) -> str:
    text = _text(env, variable, default)
    if text and not OBJECT_PREFIX.fullmatch(text):
        raise SettingsError(
            f"{PREFIX}{variable}: must be letters, digits and . _ - /, not beginning with /, such "
            "as broadsheet/."
        )
    return text


def _choice(*choices: str) -> Any:
    def read(env: FileAwareEnv, variable: str, default: Any) -> Any:
        return env.str(variable, default, validate=validate.OneOf(choices))

    return read


_READERS: dict[str, Any] = {
    "database_url": _database,
    "database_session_url": _database,
    "redis_url": _text,
    "grafana_url": _url,
    "grafana_token": _text,
    "grafana_public_url": _url,
    "grafana_timeout": _seconds,
    "grafana_access": _choice("gateway", "headers"),
    "grafana_headers": _headers,
    "grafana_ca": _certificates,
    "grafana_queries": _whole(0, 1000),
    "grafana_captures": _whole(0, 10_000),
    "grafana_org_id": _whole(1, 2**31),
    "grafana_tokens": _tokens,
    "identity_seconds": _at_least(0),
    "editor_permissions": _actions,
    "viewer_permissions": _actions,
    "alive_file": _text,
    "metrics_address": _text,
    "metrics_port": _whole(0, 65_535),
    "document_days": _whole(0, 36_500),
    "run_days": _whole(0, 36_500),
    "storage_mb": _whole(0, 1_000_000_000),
    "run_rows": _whole(0, 1_000_000_000),
    "audit_days": _whole(1, 36_500),
    "audit_rows": _whole(0, 1_000_000_000),
    "store": _choice("postgres", "s3"),
    "s3_bucket": _bucket,
    "s3_prefix": _prefix,
    "s3_endpoint": _url,
    "s3_region": _text,
    "s3_access_key": _text,
    "s3_secret_key": _text,
    "s3_addressing": _choice("auto", "path", "virtual"),
    "s3_timeout": _seconds,
    "allowed_hosts": _hosts,
    "logo_hosts": _hosts,
    "capture_concurrency": _whole(1, 1000),
    "chromium": _text,
    "browser_memory_mb": _whole(200, 1_000_000),
    "chromium_sandbox": _choice("auto", "on", "off"),
    "render_timeout": _seconds,
    "max_attempts": _whole(1, 20),
    # A quarter of it must do for a round trip to the database, or every task is given up.
    "lease_seconds": _at_least(1),
    "smtp_host": _mail_host,
    "smtp_port": _whole(1, 65_535),
    "smtp_user": _text,
    "smtp_password": _text,
    "smtp_security": _choice("none", "starttls", "tls"),
    "smtp_ca": _certificates,
    "smtp_timeout": _seconds,
    "smtp_from": _sender,
    "smtp_rate": _rate,
    "smtp_connections": _whole(0, 1000),
    "public_url": _url,
    "link_days": _whole(1, 3650),
    "secret_key": _keys,
    "wait_timeout": _seconds,
    "wait_slots": _whole(1, 10_000),
    "max_body_bytes": _whole(1_024, 104_857_600),
    "trusted_proxies": _whole(0, 10),
    "allowed_domains": _domains,
    "max_recipients": _whole(1, MAX_RECIPIENTS),
    "max_dashboards": _whole(1, MAX_DASHBOARDS),
    "rate_limit": _limit,
    "auth_failure_limit": _limit,
    "max_attachment_size_mb": _whole(1, 1_000),
    "catchup_seconds": _whole(0, 31_536_000),
    "run_timeout": _at_least(10),
    "traces": _switch,
    "log_level": _choice("DEBUG", "INFO", "WARNING", "ERROR"),
    "log_format": _choice("json", "text"),
}


def _is_broker(value: str) -> bool:
    if value.startswith("redis+socket://"):
        return True
    if not _is_address(value, "redis", "rediss"):
        return False
    database = urlsplit(value).path.strip("/")
    return not database or (database.isascii() and database.isdigit())


def _is_loopback(host: str) -> bool:
    if host.lower().rstrip(".") in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _faults_of_store(values: Mapping[str, Any]) -> list[str]:
    faults = []
    if values["store"] == "s3" and not values["s3_bucket"]:
        faults.append(f"{PREFIX}S3_BUCKET is not set, and {PREFIX}STORE is s3.")
    elif not values["s3_bucket"]:
        faults += [
            f"{PREFIX}{name.upper()} is set, and {PREFIX}S3_BUCKET is not: name the bucket, or "
            f"unset {PREFIX}{name.upper()}."
            for name in ("s3_endpoint", "s3_access_key")
            if values[name]
        ]
    if bool(values["s3_access_key"]) != bool(values["s3_secret_key"]):
        faults.append(
            f"{PREFIX}S3_ACCESS_KEY and {PREFIX}S3_SECRET_KEY go together: set both, or neither to "
            "use a role or boto3's own variables."
        )
    return faults


def _cross_checks(values: Mapping[str, Any]) -> list[str]:
    faults = []
    broker = values["redis_url"]
    if values["database_session_url"] and not values["database_url"]:
        faults.append(
            f"{PREFIX}DATABASE_SESSION_URL: goes with {PREFIX}DATABASE_URL, which is missing; "
            "without a pooler, set the latter only."
        )
    if broker and not _is_broker(broker):
        faults.append(
            f"{PREFIX}REDIS_URL: must be an address such as redis://host:6379/0 (or rediss://…), "
            "with the number of a database or none."
        )
    if values["grafana_token"] and values["grafana_org_id"] in dict(values["grafana_tokens"]):
        faults.append(
            f"{PREFIX}GRAFANA_TOKENS: organisation {values['grafana_org_id']} has its token in "
            f"{PREFIX}GRAFANA_TOKEN; set one of the two."
        )
    if values["grafana_token"] and not WORD.fullmatch(values["grafana_token"]):
        # Said here, without its value, because as a header it would fail in a worse place.
        faults.append(
            f"{PREFIX}GRAFANA_TOKEN: must be one word of plain letters, digits and signs."
        )
    if values["grafana_access"] == "headers" and values["grafana_ca"]:
        faults.append(
            f"{PREFIX}GRAFANA_ACCESS: headers does not go with {PREFIX}GRAFANA_CA, which a browser "
            "takes from the operating system only."
        )
    if (
        values["smtp_password"]
        and values["smtp_security"] == "none"
        and not _is_loopback(values["smtp_host"])
    ):
        faults.append(
            f"{PREFIX}SMTP_SECURITY: none would send {PREFIX}SMTP_PASSWORD over the network in "
            "clear; set it to starttls or tls."
        )
    if 0 < values["run_days"] < values["document_days"] or (
        values["run_days"] and not values["document_days"]
    ):
        faults.append(
            f"{PREFIX}RUN_DAYS: must not be less than {PREFIX}DOCUMENT_DAYS: with its run a "
            "document goes, too."
        )
    if 0 < values["document_days"] < values["link_days"]:
        faults.append(
            f"{PREFIX}DOCUMENT_DAYS: must not be less than {PREFIX}LINK_DAYS, or the links of "
            "mails lead nowhere."
        )
    faults += _faults_of_store(values)
    if "@" not in values["smtp_from"]:
        faults.append(f"{PREFIX}SMTP_FROM: must be an e-mail address.")
    return faults
