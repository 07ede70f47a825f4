"""What passes the gateway: which requests of a page only read, what they ask for, and with what.

Pure. What passes is listed, not what does not: a path, a method or a header that nobody thought
of stays outside.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from urllib.parse import unquote

#: Grafana's API and pages: what needs the token. The rest of its origin is static files.
ANSWERED = re.compile(r"^/((api|apis|d|d-solo|dashboard|bootdata|avatar|login|goto)(/|$)|$)")

#: POSTs that ask for data; everything else that is not GET or HEAD is refused.
ASKING = re.compile(
    r"^/api/(ds/query|tsdb/query|datasources/proxy/.+"
    r"|datasources/(uid/)?[^/]+/resources/.+|plugins/[^/]+/resources/.+"
    r"|annotations/graphite)$"
    r"|^/apis/query\.grafana\.app/[^/]+/namespaces/[^/]+/query$"
    r"|^/apis/[^/]*datasource\.grafana\.app/[^/]+/namespaces/[^/]+/[^/]+/[^/]+/(query|resource.*)$"
)
#: GETs that change something all the same.
CHANGING = re.compile(r"^/api/snapshots-delete/")
#: What reaches a data source: queries, what a data source's plugin or proxy is asked for (values
#: of variables, labels, Graphite's and Loki's older queries). This is what loads others, so this
#: is what the caps count, and what the verdict tells of.
QUERY = re.compile(
    r"^/api/(ds|tsdb)/query$"
    r"|^/api/datasources/(proxy/|(uid/)?[^/]+/resources/)"
    r"|^/api/annotations/graphite$"
    r"|^/apis/query\.grafana\.app/.+/query$"
    r"|^/apis/[^/]*datasource\.grafana\.app/.+/(query$|resource)"
)
#: Housekeeping of every page; refusing it is no remark.
CHATTER = re.compile(
    r"^/api/(frontend-metrics|live/|user/|prometheus/grafana|gnet|recording-rules)"
    r"|log-grafana-javascript-agent|/api/search-v2|/api/query-history"
)
DASHBOARD = re.compile(
    r"^/api/dashboards/uid/[^/]+$|^/apis/dashboard\.grafana\.app/.*/dashboards/[^/]+(/dto)?$"
)
#: Code of plugins that are not built into Grafana.
PLUGIN = re.compile(r"^/public/plugins/")
#: Headers of a question that are passed on, besides its type: Grafana's own about panel and query.
#: Not all of `x-…`: some say who asks, to a server that trusts the address they come from.
ABOUT_THE_QUERY = re.compile(r"^x-(dashboard|panel|datasource|plugin|query|cache|loki|ds)-")
#: Headers that a browser sends by itself with a static file.
BROWSERS_OWN = re.compile(
    r"^(accept|accept-language|cache-control|if-modified-since|if-none-match|origin|pragma|range"
    r"|referer|upgrade-insecure-requests|user-agent|sec-.+)$"
)
#: Headers of an answer that no longer hold once it was read and decoded here.
HOP_BY_HOP = {
    "content-length",
    "content-encoding",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "set-cookie",
}


def only_reads(method: str, path: str) -> bool:
    """Whether the request cannot change anything in Grafana."""
    # A browser resolves "..", so an encoded one is there to lead a server astray.
    if ".." in unquote(path).replace("\\", "/").split("/"):
        return False
    if method in ("GET", "HEAD"):
        return not CHANGING.match(path)
    return method == "POST" and ASKING.match(path) is not None


def forwarded(headers: Mapping[str, str], *, without: Collection[str] = ()) -> dict[str, str]:
    """Keep what concerns the question; the page's cookies, origin and credentials stay behind.

    So do headers called as one of `without`, in small letters: those are set by who forwards.
    """
    return {
        name: value
        for name, value in headers.items()
        if (name.lower() in ("accept", "content-type") or ABOUT_THE_QUERY.match(name.lower()))
        and name.lower() not in without
    }


def of_a_browser(headers: Mapping[str, str]) -> dict[str, str]:
    """Keep what a browser sends with a static file, and nothing that a script added."""
    return {name: value for name, value in headers.items() if BROWSERS_OWN.match(name.lower())}


def kept(headers: Mapping[str, str]) -> dict[str, str]:
    """Keep the headers of an answer that hold for the page."""
    return {name: value for name, value in headers.items() if name.lower() not in HOP_BY_HOP}
