"""The files of deploy/proxy for nginx, in a real nginx before Grafana and Broadsheet."""

from __future__ import annotations

import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx
import pytest
import trustme

from deploy.local import processes, services, tools
from deploy.local.grafana.server import StandIn
from tests.acceptance.harness import Service, eventually, serving

#: What only the proxy may say; a client that says it is not to be believed.
FORGED = {
    "X-Forwarded-For": "203.0.113.7",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "gopher",
    "X-Forwarded-Prefix": "/evil",
    "X-Real-IP": "203.0.113.7",
    "Forwarded": "for=203.0.113.7",
    "X-WEBAUTH-USER": "admin",
    "SCRIPT_NAME": "/evil",
    "PATH_INFO": "/metrics",
}
#: nginx's own patience outside of Broadsheet's location, which has its own.
SHORT = 1


class Upstream:
    """Stands for a server: keeps the head of each request, and speaks a bit of WebSocket."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as file:
                lines = list(iter(file.readline, b"\r\n"))
                self.heads.append(b"".join(lines).decode())
                if "upgrade: websocket" in self.heads[-1].lower():
                    file.write(b"HTTP/1.1 101 Switching Protocols\r\n")
                    file.write(b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n")
                    file.flush()
                    file.write(file.readline().upper())
                else:
                    file.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n")
                    file.write(b"Connection: close\r\n\r\nok")


@dataclass(frozen=True)
class Kind:
    """One of the two files, and where it has Grafana."""

    file: str
    sub_path: str


ROOT, SUB_PATH = KINDS = Kind("nginx.conf", ""), Kind("nginx-subpath.conf", "/grafana")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@contextmanager
def proxy(
    folder: Path, checkout: Path, authority: trustme.CA, kind: Kind, grafana: str, broadsheet: str
) -> Iterator[str]:
    """Run nginx with a file of deploy/proxy; yield the address at which it serves Grafana.

    Of the file only what its head says is changed: addresses and certificate.
    """
    folder.mkdir()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    for part in issued.cert_chain_pems:
        part.write_to_path(folder / "chain.pem", append=True)
    port = services.free_port()
    text = (checkout / "deploy/proxy" / kind.file).read_text()
    for there, here in {
        "server 127.0.0.1:3000;": f"server {urlsplit(grafana).netloc};",
        "server 127.0.0.1:8080;": f"server {urlsplit(broadsheet).netloc};",
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        "/etc/nginx/tls/fullchain.pem": f"{folder}/chain.pem",
        "/etc/nginx/tls/privkey.pem": f"{folder}/key.pem",
        "/var/log/nginx/": f"{folder}/",
    }.items():
        assert text.count(there) == 1, there
        text = text.replace(there, here)
    (folder / "site.conf").write_text(text)
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log stderr info; events {{}}"
        f"http {{ access_log {folder}/others.log; {temporary} proxy_read_timeout {SHORT}s;"
        f"include {folder}/site.conf; }}"
    )
    running = processes.start(
        "nginx",
        [tools.find(tools.NGINX), "-p", folder, "-e", "stderr", "-c", folder / "nginx.conf"],
        log=folder / "nginx.log",
        environ=os.environ,
    )
    try:
        running.wait_until(lambda: services.listens(port))
        yield f"https://127.0.0.1:{port}{kind.sub_path}"
    finally:
        processes.stop([running])


def client(url: str, authority: trustme.CA, **headers: str) -> httpx.Client:
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return httpx.Client(base_url=url, headers=headers, verify=trusting, timeout=30, trust_env=False)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A Broadsheet that believes one proxy."""
    folder = tmp_path_factory.mktemp("stack")
    with StandIn() as grafana, serving(folder, grafana=grafana, TRUSTED_PROXIES="1") as service:
        yield service


@dataclass(frozen=True)
class Site:
    """A host as its clients see it: Terraform, say, that knows one address and one token."""

    kind: Kind
    http: httpx.Client
    grafana: StandIn
    folder: Path


@pytest.fixture(scope="module", params=KINDS, ids=["root", "sub-path"])
def site(
    request: pytest.FixtureRequest,
    service: Service,
    authority: trustme.CA,
    checkout: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    kind: Kind = request.param
    folder = tmp_path_factory.mktemp("proxy") / "nginx"
    with (
        StandIn(sub_path=kind.sub_path) as grafana,
        proxy(folder, checkout, authority, kind, grafana.url, service.stack.api_url) as url,
        client(url, authority, Authorization=f"Bearer {service.stack.token}") as http,
    ):
        yield Site(kind, http, grafana, folder)


BODY = {
    "name": "Behind a proxy",
    "recipients": "ada@example.com",
    "schedule": {"frequency": "never"},
    "dashboards": [{"dashboard": {"uid": "small"}}],
}


def test_a_report_is_created_and_read_at_grafanas_own_address(site: Site) -> None:
    made = site.http.post("/api/reports", json=BODY).raise_for_status().json()
    assert site.http.get(f"/api/reports/{made['id']}").json()["name"] == BODY["name"]
    assert made["id"] in [one["id"] for one in site.http.get("/api/reports").json()]
    with httpx.Client(base_url=site.http.base_url, verify=False) as stranger:
        assert stranger.get("/api/reports").json() == {"message": "Unauthorized"}


def test_everything_else_is_grafanas(site: Site) -> None:
    header = {"Authorization": f"Bearer {site.grafana.token}"}
    health = site.http.get("/api/health", headers=header)
    page = site.http.get("/d/small", headers=header)
    assert health.json()["database"] == "ok"
    assert page.status_code == 200
    assert "grafanaBootData" in page.text
    for inside in ("/healthz", "/readyz", "/metrics", "/api/reportsx", "/api/docsx"):
        answer = site.http.get(inside, headers=header)
        assert "broadsheet" not in answer.text.lower(), inside
        assert answer.headers.get("Cross-Origin-Resource-Policy") is None, inside


def test_a_call_that_waits_outlives_the_proxys_usual_patience_and_leads_to_its_run(
    site: Site, service: Service
) -> None:
    subject = f"Waited for at {site.kind.sub_path or 'the root'}"
    # Its mail is held back for longer than nginx waits elsewhere.
    service.inbox.gate.clear()
    timer = threading.Timer(SHORT + 0.5, service.inbox.gate.set)
    timer.start()
    begun = time.monotonic()
    body = {**BODY, "name": subject, "message": site.kind.file}
    sent = site.http.post("/api/reports/test-email", json=body)
    timer.join()
    assert sent.status_code == 200, sent.text
    assert time.monotonic() - begun > SHORT
    assert len(service.mails(subject)) == 1
    run = site.http.get(f"/api/reports/runs/{sent.json()['runId']}").json()
    document = run["documents"][0]["href"]
    assert run["href"].startswith(f"{site.kind.sub_path}/api/reports/runs/")
    host = str(site.http.base_url).removesuffix("/").removesuffix(site.kind.sub_path)
    assert site.http.get(host + document).content.startswith(b"%PDF")


def test_where_a_run_can_be_followed_is_an_address_that_works_whatever_a_client_forges(
    site: Site, service: Service
) -> None:
    answer = site.http.post(
        "/api/reports/test-email", json=BODY, headers={"Prefer": "respond-async", **FORGED}
    )
    assert answer.status_code == 202, answer.text
    location = answer.headers["Location"]
    assert location == f"{site.kind.sub_path}/api/reports/runs/{answer.json()['runId']}"
    followed = site.http.get(answer.url.join(location))
    assert followed.json()["id"] == answer.json()["runId"]
    said = service.stack.processes["api"].said()
    assert "client=127.0.0.1" in said
    assert "203.0.113.7" not in said


def test_the_description_and_its_page_lead_to_where_the_api_is(site: Site) -> None:
    document = site.http.get("/api/openapi.json").json()
    expected = [{"url": site.kind.sub_path}] if site.kind.sub_path else None
    assert document.get("servers") == expected
    page = site.http.get("/api/docs")
    for address in re.findall(r'(?:src|href)="([^":]+)"', page.text):
        assert site.http.get(page.url.join(address)).status_code == 200, address


@pytest.mark.parametrize(
    ("size", "sentence"),
    [(1_500_000, "The body is larger than 1048576 bytes"), (5_000_000, "The body is too large")],
)
def test_a_body_that_is_too_large_is_refused_in_json_by_whoever_sees_it_first(
    site: Site, size: int, sentence: str
) -> None:
    answer = site.http.post("/api/reports", json={**BODY, "message": "x" * size})
    assert (answer.status_code, answer.json()) == (413, {"message": sentence})


def test_the_signature_of_a_link_is_in_no_log_of_the_proxy(site: Site) -> None:
    link = "/api/reports/documents/1?org=1&expires=1&signature=hush"
    assert site.http.get(link).status_code == 403
    log = site.folder / "broadsheet.log"
    # nginx writes it when the answer is out.
    eventually(lambda: '/api/reports/documents/1" 403' in log.read_text(), within=5, what="the log")
    assert "hush" not in log.read_text() + (site.folder / "others.log").read_text()


@pytest.mark.parametrize("kind", KINDS, ids=["root", "sub-path"])
def test_what_a_client_forges_reaches_neither_and_websockets_reach_grafana(
    kind: Kind, authority: trustme.CA, checkout: Path, tmp_path: Path
) -> None:
    with (
        Upstream() as grafana,
        Upstream() as broadsheet,
        proxy(tmp_path / "nginx", checkout, authority, kind, grafana.url, broadsheet.url) as url,
        client(url, authority) as http,
    ):
        for path in ("/api/health", "/api/reports/1?x=%2F"):
            assert http.get(path, headers={**FORGED, "Authorization": "Bearer t"}).text == "ok"
        with _websocket(url, authority) as file:
            file.write(b"a live panel\n")
            file.flush()
            assert file.readline() == b"A LIVE PANEL\n"
    port = urlsplit(url).port
    health, live = grafana.heads
    (report,) = broadsheet.heads
    assert health.startswith(f"GET {kind.sub_path}/api/health ")
    assert report.startswith("GET /api/reports/1?x=%2F ")
    assert live.startswith(f"GET {kind.sub_path}/api/live/ws ")
    for head in (health, report):
        headers = dict(line.split(": ", 1) for line in head.splitlines()[1:])
        assert headers["Authorization"] == "Bearer t"
        assert {name: headers.get(name) for name in FORGED} == {
            **dict.fromkeys(FORGED),
            "X-Forwarded-For": "127.0.0.1",
            "X-Forwarded-Host": f"127.0.0.1:{port}",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Prefix": kind.sub_path or None,
            "X-Real-IP": "127.0.0.1",
        }


@contextmanager
def _websocket(url: str, authority: trustme.CA) -> Iterator[socket.SocketIO]:
    """Shake hands for a WebSocket below `url`; yield what travels from then on."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    parts = urlsplit(url)
    with (
        socket.create_connection((parts.hostname, parts.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=parts.hostname) as connection,
        connection.makefile("rwb") as file,
    ):
        file.write(
            f"GET {parts.path}/api/live/ws HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n".encode()
        )
        file.flush()
        assert b" 101 " in file.readline()
        while file.readline() != b"\r\n":
            pass
        yield file


def test_a_broadsheet_that_is_away_leaves_grafana_where_it_is(
    authority: trustme.CA, checkout: Path, tmp_path: Path
) -> None:
    nobody = f"http://127.0.0.1:{services.free_port()}"
    with (
        Upstream() as grafana,
        proxy(tmp_path / "nginx", checkout, authority, ROOT, grafana.url, nobody) as url,
        client(url, authority) as http,
    ):
        answer = http.get("/api/reports")
        assert (answer.status_code, answer.json()) == (
            502,
            {"message": "Broadsheet does not answer"},
        )
        assert http.get("/").text == "ok"
