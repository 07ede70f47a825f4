"""Boot data: what the page assigns to `window.grafanaBootData`.

A caller's role can be read nowhere else.
"""

from typing import Any

from deploy.local.grafana.data import DOWN_SOURCE
from deploy.local.grafana.identity import ORGS, Caller, permissions_of

PANEL_TYPES = {
    "timeseries": "Time series",
    "stat": "Stat",
    "gauge": "Gauge",
    "bargauge": "Bar gauge",
    "table": "Table",
    "text": "Text",
    "piechart": "Pie chart",
    "heatmap": "Heatmap",
    "graph": "Graph (old)",
    "table-old": "Table (old)",
    "acme-clock-panel": "Clock",
}
#: What somebody else made; the rest is built in.
INSTALLED_TYPES = ("acme-clock-panel",)
ANGULAR_TYPES = ("graph", "table-old")


def boot_data(
    caller: Caller | None,
    *,
    version: str,
    base: str,
    url: str,
    theme: str,
    through_apis: list[str],
    sanitizes: bool,
) -> dict[str, Any]:
    """The whole object; None as the caller gives the login page's."""
    return {
        "user": _user(caller, base, theme),
        "settings": _settings(version, base, url, through_apis, sanitizes),
        "navTree": [
            {
                "id": "dashboards",
                "text": "Dashboards",
                "icon": "apps",
                "url": f"{base}/dashboards",
                "sortWeight": -1700,
            }
        ],
    }


def _user(caller: Caller | None, base: str, theme: str) -> dict[str, Any]:
    user: dict[str, Any] = {
        "isSignedIn": caller is not None,
        "id": caller.id if caller else 0,
        "externalUserId": "",
        "login": caller.login if caller else "",
        "email": caller.email if caller else "",
        "name": caller.name if caller else "",
        "lightTheme": theme == "light",
        "theme": theme,
        "orgCount": len(caller.orgs) if caller else 0,
        "orgId": caller.org_id if caller else 0,
        "orgName": ORGS[caller.org_id] if caller else "",
        "orgRole": caller.role if caller else "",
        "isGrafanaAdmin": bool(caller and caller.is_admin),
        "gravatarUrl": f"{base}/public/img/user_profile.svg",
        "timezone": "browser",
        "weekStart": "browser",
        "locale": "en-US",
        "language": "en-US",
        "helpFlags1": 0,
        "hasEditPermissionInFolders": False,
    }
    if caller:
        user["permissions"] = dict.fromkeys(permissions_of(caller), True)
        user["authenticatedBy"] = "apikey" if caller.is_token else "password"
    return user


def _settings(
    version: str, base: str, url: str, through_apis: list[str], sanitizes: bool
) -> dict[str, Any]:
    return {
        "appSubUrl": base,
        "appUrl": f"{url}/",
        "alertingEnabled": False,
        "angularSupportEnabled": version.startswith("9."),
        "apps": {
            "demo-app": {
                "id": "demo-app",
                "path": "public/app/demo-app.js",
                "preload": True,
                "version": "1.0.0",
            }
        },
        "auth": {"disableLogin": False},
        "buildInfo": {
            "buildstamp": 1793606400,
            "commit": "NA",
            "edition": "Open Source",
            "env": "production",
            "hasUpdate": False,
            "hideVersion": False,
            "latestVersion": "",
            "version": version,
        },
        "datasources": {
            "Demo data": _source(1, "demo", "Demo data", default=True),
            "Demo data (down)": _source(2, DOWN_SOURCE, "Demo data (down)", default=False),
            "-- Grafana --": _built_in("grafana", "grafana", "-- Grafana --"),
            "-- Mixed --": _built_in("mixed", "-- Mixed --", "-- Mixed --"),
            "-- Dashboard --": _built_in("dashboard", "-- Dashboard --", "-- Dashboard --"),
        },
        "defaultDatasource": "Demo data",
        "disableSanitizeHtml": not sanitizes,
        "exploreEnabled": True,
        # The newer route for these dashboards; a real server decides this for all of them by one
        # toggle.
        "featureToggles": {"kubernetesDashboards": through_apis},
        "grafanaJavascriptAgent": {"enabled": True},
        "http2Enabled": False,
        "licenseInfo": {
            "expiry": 0,
            "stateInfo": "",
            "edition": "Open Source",
            "enabledFeatures": {},
        },
        "liveEnabled": True,
        "minRefreshInterval": "5s",
        "newsFeedEnabled": True,
        "panels": {
            kind: _panel_plugin(kind, name, rank)
            for rank, (kind, name) in enumerate(PANEL_TYPES.items())
        },
        "pluginsToPreload": [{"path": "public/app/demo-app.js", "version": "1.0.0"}],
        "rendererAvailable": False,
        "rendererVersion": "",
        "unifiedAlertingEnabled": True,
        "viewersCanEdit": False,
    }


def _source(number: int, uid: str, name: str, *, default: bool) -> dict[str, Any]:
    return {
        "id": number,
        "uid": uid,
        "type": "standin-data",
        "name": name,
        "isDefault": default,
        "meta": {
            "id": "standin-data",
            "type": "datasource",
            "name": "Stand-in data",
            "signature": "internal",
            "module": "app/plugins/datasource/standin-data/module",
            "annotations": True,
        },
        "jsonData": {},
        "preload": False,
        "readOnly": True,
        "access": "proxy",
        "url": f"/api/datasources/proxy/uid/{uid}",
    }


def _built_in(plugin: str, uid: str, name: str) -> dict[str, Any]:
    """One of the sources that every Grafana has."""
    return {
        "uid": uid,
        "type": "datasource",
        "name": name,
        "isDefault": False,
        "meta": {
            "id": plugin,
            "type": "datasource",
            "name": name,
            "builtIn": True,
            "signature": "internal",
            "module": f"app/plugins/datasource/{plugin}/module",
        },
        "jsonData": {},
        "preload": False,
        "readOnly": False,
    }


def _panel_plugin(kind: str, name: str, rank: int) -> dict[str, Any]:
    is_installed = kind in INSTALLED_TYPES
    place = f"plugins/{kind}" if is_installed else f"app/plugins/panel/{kind}"
    return {
        "id": kind,
        "name": name,
        "hideFromList": False,
        "sort": rank,
        "skipDataQuery": kind == "text",
        "state": "deprecated" if kind in ANGULAR_TYPES else "",
        "angular": {"detected": kind in ANGULAR_TYPES},
        "baseUrl": f"public/{place}",
        "signature": "valid" if is_installed else "internal",
        "module": f"{place}/module",
    }
