"""The routes: Grafana's HTTP contract, as far as a reporting service leans on it."""

import hashlib
import json
import threading
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from flask import (
    Blueprint,
    Flask,
    Response,
    current_app,
    g,
    jsonify,
    redirect,
    render_template,
    request,
    send_from_directory,
)
from flask.typing import ResponseReturnValue

from deploy.local.grafana import data, store
from deploy.local.grafana.boot import boot_data
from deploy.local.grafana.identity import (
    BORN,
    ORGS,
    Caller,
    DeniedError,
    Identities,
    needs,
    permissions_of,
)
from deploy.local.grafana.waiting import wait

Frontend = Literal["legacy", "scenes"]
VERSIONS: dict[Frontend, str] = {"legacy": "9.4.0", "scenes": "12.2.1"}
HERE = Path(__file__).resolve().parent
STATIC = HERE / "static"
ENDLESS_SECONDS = 120.0
#: Recorded for a query whose caller did not wait for the answer; nobody ever receives it.
HUNG_UP = 499
SESSION_COOKIE = "grafana_session"

site = Blueprint("grafana", __name__)


class World:
    """What the routes answer from, shared by all request threads."""

    def __init__(self, frontend: Frontend) -> None:
        self.frontend = frontend
        self.version = VERSIONS[frontend]
        self.identities = Identities(modern=frontend == "scenes")
        self.dashboards = store.Dashboards()
        self.sanitizes = False
        self.stopping = threading.Event()
        self.digest = _digest_of(STATIC)


def make_app(world: World) -> Flask:
    """The Flask app over one world."""
    app = Flask(__name__, static_folder=None, template_folder=str(HERE / "templates"))
    app.extensions["stand-in"] = world
    app.json.sort_keys = False  # type: ignore[attr-defined]  # the provider is Flask's default one
    app.register_blueprint(site)
    app.register_error_handler(DeniedError, lambda denied: (jsonify(denied.body), denied.status))
    app.register_error_handler(data.QueryError, lambda error: ({"message": str(error)}, 400))
    app.register_error_handler(404, _not_found)
    app.register_error_handler(405, _not_found)
    return app


# Pages


@site.get("/")
@site.get("/dashboards")
@site.get("/d/<uid>")
@site.get("/d/<uid>/<slug>")
def page(**_address: str) -> ResponseReturnValue:
    """The index page, the same for every address.

    The front-end then asks for the dashboard itself.
    """
    caller = _caller()
    if caller is None:
        response = redirect(f"{request.script_root}/login")
        response.set_cookie(
            "redirect_to", quote(request.full_path.rstrip("?")), httponly=True, samesite="Lax"
        )
        return response
    if (org := request.args.get("orgId")) and (not org.isdigit() or int(org) not in caller.orgs):
        return Response("Not found\n", 404, mimetype="text/plain")
    return _index(caller)


@site.get("/login")
def login_page() -> ResponseReturnValue:
    """The index page with nobody signed in; its script draws a form."""
    return _index(None)


@site.post("/login")
def login() -> ResponseReturnValue:
    """Signs a person in; services use tokens. The page posts JSON and goes on by itself."""
    body = request.get_json(silent=True) or {}
    session = _world().identities.sign_in(str(body.get("user", "")), str(body.get("password", "")))
    response = jsonify(message="Logged in")
    response.set_cookie(SESSION_COOKIE, session, httponly=True, samesite="Lax")
    return response


@site.get("/public/build/<digest>/<path:name>")
@site.get("/public/<path:name>")
def static_file(name: str, **_digest: str) -> ResponseReturnValue:
    """No credentials needed.

    The digest in the address changes with the files, so caches may keep them for ever.
    """
    return send_from_directory(STATIC, name, max_age=31_536_000)


def _index(caller: Caller | None) -> Response:
    world = _world()
    theme = request.args.get("theme", "dark")
    theme = theme if theme in ("light", "dark") else "dark"
    through_apis = [stored.uid for stored in world.dashboards.all() if stored.through_apis]
    boot = boot_data(
        caller,
        version=world.version,
        base=request.script_root,
        url=request.url_root.rstrip("/"),
        theme=theme,
        through_apis=through_apis if world.frontend == "scenes" else [],
        sanitizes=world.sanitizes,
    )
    html = render_template(
        "index.html",
        base=request.script_root,
        theme=theme,
        frontend=world.frontend,
        boot=json.dumps(boot).replace("<", "\\u003c"),
        build=f"public/build/{world.digest}",
        login=caller is None,
    )
    response = Response(html, mimetype="text/html")
    response.headers["Cache-Control"] = "no-store"
    return response


# Who is asking


@site.get("/api/health")
def health() -> ResponseReturnValue:
    """Open to everybody; callers read the version here."""
    return {"commit": "NA", "database": "ok", "version": _world().version}


@site.get("/api/org")
def org() -> ResponseReturnValue:
    """The caller's organisation, the one in the header for people who are in several."""
    caller = _signed_in()
    wanted = caller.org_id
    header = request.headers.get("X-Grafana-Org-Id", "")
    if header.isdigit() and not caller.is_token:  # a token is not moved by the header
        wanted = int(header)
    if wanted not in caller.orgs:
        return needs("orgs:read"), 403
    address = dict.fromkeys(("address1", "address2", "city", "zipCode", "state", "country"), "")
    return {"id": wanted, "name": ORGS[wanted], "address": address}


@site.get("/api/user")
def user() -> ResponseReturnValue:
    """The person signed in; a service account is none."""
    caller = _signed_in()
    if caller.is_token:
        return {"message": "user not found"}, 404
    return {
        "id": caller.id,
        "email": caller.email,
        "name": caller.name,
        "login": caller.login,
        "theme": "",
        "orgId": caller.org_id,
        "isGrafanaAdmin": caller.is_admin,
        "isDisabled": False,
        "isExternal": False,
        "authLabels": [],
        "updatedAt": BORN,
        "createdAt": BORN,
        "avatarUrl": f"{request.script_root}/public/img/user_profile.svg",
    }


@site.get("/api/user/orgs")
def user_orgs() -> ResponseReturnValue:
    """Where a person may go, with the role there."""
    caller = _signed_in()
    if caller.is_token:
        return needs("users:read"), 403
    return jsonify(
        [
            {"orgId": number, "name": ORGS[number], "role": role}
            for number, role in caller.orgs.items()
        ]
    )


@site.get("/api/access-control/user/permissions")
def permissions() -> ResponseReturnValue:
    """Actions and scopes; always allowed, for every caller."""
    return permissions_of(_signed_in())


# Dashboards


@site.get("/api/search")
def search() -> ResponseReturnValue:
    """Dashboards the caller may see.

    `query`, `tag`, `dashboardUIDs`, `limit` and `page` narrow the list.
    """
    caller = _signed_in()
    if request.args.get("type", "dash-db") != "dash-db" or caller.org_id != 1:
        return jsonify([])
    text = request.args.get("query", "").lower()
    uids, tags = set(request.args.getlist("dashboardUIDs")), set(request.args.getlist("tag"))
    found = [
        store.search_hit(stored, base=request.script_root)
        for stored in _world().dashboards.all()
        if caller.sees(stored.hidden)
        and text in stored.title.lower()
        and (not uids or stored.uid in uids)
        and tags <= set(stored.model.get("tags", []))
    ]
    limit, number = request.args.get("limit", 1000, type=int), request.args.get("page", 1, type=int)
    return jsonify(found[(number - 1) * limit : number * limit])


@site.get("/api/dashboards/uid/<uid>")
def dashboard(uid: str) -> ResponseReturnValue:
    """A dashboard with its `meta`, or the 404 or 403 that the page turns into words."""
    caller = _signed_in()
    stored = _dashboard_for(caller, uid)
    can_edit = caller.role in ("Editor", "Admin")
    return {
        "meta": store.meta_of(stored, can_edit=can_edit, base=request.script_root),
        "dashboard": store.full_model(stored),
    }


@site.get("/apis/dashboard.grafana.app/v1beta1/namespaces/default/dashboards/<uid>/dto")
def dashboard_resource(uid: str) -> ResponseReturnValue:
    """The route of newer servers; the older one stays beside it, as there."""
    caller = _signed_in()
    if _world().frontend == "legacy":
        return _not_found()
    stored = _dashboard_for(caller, uid)
    return store.as_resource(
        stored, can_edit=caller.role in ("Editor", "Admin"), base=request.script_root
    )


@site.get("/api/folders")
def folders() -> ResponseReturnValue:
    """Folders the caller may see."""
    folder = {key: store.HIDDEN_FOLDER[key] for key in ("id", "uid", "title")}
    return jsonify([folder] if _signed_in().sees(hidden=True) else [])


@site.get("/api/annotations")
def annotations() -> ResponseReturnValue:
    """Annotations of a time range."""
    _signed_in()
    start, end = (
        data.epoch_ms(request.args.get(key, default))
        for key, default in (("from", "now-6h"), ("to", "now"))
    )
    return jsonify(data.annotations(start, end))


# The data source


@site.post("/api/ds/query")
def query() -> ResponseReturnValue:
    """Data of one panel.

    An older server fails as a whole, a newer one says per query what went wrong.
    """
    _signed_in()
    body = request.get_json(silent=True)
    if not isinstance(body, dict):
        return {"message": "bad request data", "traceID": ""}, 400
    queries = [asked for asked in body.get("queries", []) if isinstance(asked, dict)]
    if not queries:
        return {"message": "no queries found", "traceID": ""}, 400
    sources = {str((asked.get("datasource") or {}).get("uid", "")) for asked in queries}
    if not sources <= data.KNOWN_SOURCES:
        return {"message": "Data source not found", "traceID": ""}, 404
    if data.DOWN_SOURCE in sources:
        return _plugin_down()
    _wait_for(queries)
    start, end = (
        data.epoch_ms(str(body.get(key, default)))
        for key, default in (("from", "now-6h"), ("to", "now"))
    )
    return _answer(queries, start, end)


def _answer(queries: list[data.Query], start: int, end: int) -> ResponseReturnValue:
    results: dict[str, Any] = {}
    failed = 0
    for asked in queries:
        try:
            frames = data.frames_for(asked, start, end)
        except data.QueryError as error:
            if _world().frontend == "legacy":
                return {"error": str(error), "message": str(error)}, 500
            failed += 1
            results[str(asked.get("refId", "A"))] = {
                "error": str(error),
                "errorSource": "downstream",
                "status": 500,
            }
        else:
            if frames:
                results[str(asked.get("refId", "A"))] = {"status": 200, "frames": frames}
    status = 200 if not failed else 400 if failed == len(queries) else 207
    return {"results": results}, status


def _plugin_down() -> ResponseReturnValue:
    message = "An error occurred within the plugin"
    return {
        "message": message,
        "messageId": "plugin.downstreamError",
        "statusCode": 500,
        "traceID": "",
    }, 500


def _wait_for(queries: list[data.Query]) -> None:
    """Slow queries are slow here, on the server, for whoever asks.

    Waiting ends when the server stops.
    """
    delay = max(float(asked.get("delayMs", 0)) / 1000 for asked in queries)
    if any(asked.get("scenarioId") == "never" for asked in queries):
        delay = ENDLESS_SECONDS
    if not wait(delay, _world().stopping, request.environ.get("werkzeug.socket")):
        raise DeniedError(HUNG_UP, {"message": "Client Closed Request"})


@site.get("/api/datasources/uid/<uid>")
def source(uid: str) -> ResponseReturnValue:
    """A data source's settings, for Admins; the page has what it needs in its boot data."""
    caller = _signed_in()
    if caller.role != "Admin":
        return needs("datasources:read"), 403
    if uid not in data.KNOWN_SOURCES:
        return {"message": "Data source not found", "traceID": ""}, 404
    return {
        "id": 1,
        "uid": uid,
        "orgId": 1,
        "name": uid,
        "type": "standin-data",
        "access": "proxy",
        "readOnly": True,
    }


@site.get("/api/datasources/uid/<uid>/resources/values")
def variable_values(uid: str) -> ResponseReturnValue:
    """What a query variable may be."""
    _signed_in()
    if uid not in data.KNOWN_SOURCES:
        return {"message": "Data source not found", "traceID": ""}, 404
    if uid == data.DOWN_SOURCE:
        return _plugin_down()
    return jsonify(
        data.variable_values(request.args.get("name", ""), request.args.get("parent", ""))
    )


@site.get("/api/datasources/proxy/uid/<uid>/redirect")
def proxied_redirect(**_source: str) -> ResponseReturnValue:
    """A data source behind the proxy that sends its callers to another origin."""
    _signed_in()
    return redirect(request.args.get("to", "/"))


# Live, and everything else


@site.get("/api/live/ws")
@site.get("/api/live/ws", websocket=True)
def live() -> ResponseReturnValue:
    """Refused: a browser never sends the token here, and a report needs no live data."""
    _signed_in()
    return {"message": "Live is not available in the stand-in"}, 400


@site.route("/api/<path:rest>", methods=["POST", "PUT", "PATCH", "DELETE"])
@site.route("/apis/<path:rest>", methods=["POST", "PUT", "PATCH", "DELETE"])
def write(rest: str) -> ResponseReturnValue:
    """Nothing can be changed here; tests look at the record to see that nobody tried."""
    _signed_in()
    known = {
        "dashboards": "dashboards:write",
        "folders": "folders:write",
        "datasources": "datasources:write",
    }
    noun = rest.split("/", maxsplit=1)[0]
    return (needs(known[noun]), 403) if noun in known else _not_found()


@site.get("/api/<path:rest>")
@site.get("/apis/<path:rest>")
def unknown(**_address: str) -> ResponseReturnValue:
    """Grafana looks at credentials before it finds out that an address leads nowhere."""
    _signed_in()
    return _not_found()


def _not_found(_error: Exception | None = None) -> ResponseReturnValue:
    if request.path.startswith(("/api/", "/apis/")):
        return {"message": "Not found"}, 404
    return Response("Not found\n", 404, mimetype="text/plain")


def _world() -> World:
    world: World = current_app.extensions["stand-in"]
    return world


def _caller() -> Caller | None:
    if "caller" not in g:
        g.caller = _world().identities.who(
            request.headers.get("Authorization", ""), request.cookies.get(SESSION_COOKIE)
        )
    caller: Caller | None = g.caller
    return caller


def _signed_in() -> Caller:
    caller = _caller()
    if caller is None:
        raise _world().identities.unauthorized()
    return caller


def _dashboard_for(caller: Caller, uid: str) -> store.Stored:
    stored = _world().dashboards.get(uid)
    if stored is None or caller.org_id != 1:
        raise DeniedError(404, {"message": "Dashboard not found", "traceID": ""})
    if not caller.sees(stored.hidden):
        raise DeniedError(403, {"message": "Access denied to this dashboard"})
    return stored


def _digest_of(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
