"""The stand-in's data source: frames shaped as Grafana answers them, made up but always the same.

Every value is a function of the query, the time range and the interval, never of the moment of
asking: two captures of one range are alike, so a test may compare them, and a narrower range shows
the same curve in more detail.
"""

import csv
import hashlib
import io
import json
import math
import re
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

Query = dict[str, Any]
Frame = dict[str, Any]

KNOWN_SOURCES = {"demo", "demo-down"}
DOWN_SOURCE = "demo-down"
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
_STEPS_MS = [
    *(1000 * n for n in (1, 2, 5, 10, 15, 20, 30)),
    *(60_000 * n for n in (1, 2, 5, 10, 15, 20, 30)),
    *(HOUR_MS * n for n in (1, 2, 3, 6, 12, 24, 24 * 7, 24 * 30)),
]
_UNITS_MS = {"s": 1000, "m": 60_000, "h": HOUR_MS, "d": DAY_MS, "w": 7 * DAY_MS}


class QueryError(Exception):
    """A query that fails for a reason of its own; the message is shown in the panel."""


def frames_for(query: Query, start: int, end: int) -> list[Frame]:
    """The frames that answer one query; raises QueryError.

    Delays are the server's business, not ours.
    """
    scenario = str(query.get("scenarioId", "wave"))
    maker = _SCENARIOS.get(scenario)
    if maker is None:
        raise QueryError(f"unknown scenario {scenario}")
    return maker(query, start, end)


def epoch_ms(value: str, now_ms: int | None = None) -> int:
    """A bound of a time range: epoch milliseconds, `now`, or `now-6h`."""
    if re.fullmatch(r"-?\d+", value):
        return int(value)
    matched = re.fullmatch(r"now(?:-(\d+)([smhdw]))?", value)
    if matched is None:
        raise QueryError(f"cannot read the time {value}")
    now = int(time.time() * 1000) if now_ms is None else now_ms
    return now - int(matched[1]) * _UNITS_MS[matched[2]] if matched[1] else now


def variable_values(name: str, parent: str) -> list[str]:
    """What a query variable may be; `parent` narrows nodes to regions."""
    regions = {"eu-west": "ew", "us-east": "ue", "ap-south": "as"}
    if name == "region":
        return list(regions)
    if name == "node":
        wanted = [region for region in regions if region in parent.split(",")] or list(regions)
        return [
            f"{regions[region]}-node-{number:02d}" for region in wanted for number in range(1, 5)
        ]
    return []


def annotations(start: int, end: int) -> list[dict[str, Any]]:
    """One release a day, at 10:20 UTC."""
    first = (start // DAY_MS) * DAY_MS + 10 * HOUR_MS + 20 * 60_000
    moments = [at for at in range(first, end + 1, DAY_MS) if at >= start]
    return [
        {
            "id": at // DAY_MS,
            "alertId": 0,
            "dashboardId": 0,
            "panelId": 0,
            "userId": 0,
            "time": at,
            "timeEnd": at,
            "text": f"Release 2026.{at // DAY_MS % 100}",
            "tags": ["release"],
            "newState": "",
            "prevState": "",
        }
        for at in moments
    ]


def _field(name: str, kind: str, **more: Any) -> dict[str, Any]:
    go = {"time": "time.Time", "number": "float64", "string": "string", "boolean": "bool"}[kind]
    return {"name": name, "type": kind, "typeInfo": {"frame": go, "nullable": True}, **more}


def _frame(query: Query, fields: list[dict[str, Any]], values: list[list[Any]]) -> Frame:
    return {
        "schema": {"refId": query.get("refId", "A"), "fields": fields},
        "data": {"values": values},
    }


def _step(query: Query, start: int, end: int) -> int:
    """The interval: the range over maxDataPoints, rounded up, at least the query's own minimum."""
    points = max(int(query.get("maxDataPoints") or 500), 1)
    wanted = max((end - start) / points, int(query.get("minStepMs") or 15_000))
    return next((step for step in _STEPS_MS if step >= wanted), math.ceil(wanted / DAY_MS) * DAY_MS)


def _seed(*parts: object) -> int:
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=6).digest(), "big")


def _noise(seed: int, index: int) -> float:
    """White noise in [-1, 1), cheap enough for some hundred thousand calls a second."""
    mixed = (seed ^ (index * 0x9E3779B1)) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 16)) * 0x45D9F3B) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 16)) * 0x45D9F3B) & 0xFFFFFFFF
    return (mixed ^ (mixed >> 16)) / 0x80000000 - 1.0


@lru_cache(maxsize=4096)
def _curve(shape: str, start: int, end: int, step: int) -> tuple[list[int], list[float]]:
    """A daily rhythm, two slow drifts, and noise around a base value."""
    asked = json.loads(shape)
    base, swing, rough = (
        float(asked.get(key, default))
        for key, default in (("base", 50), ("swing", 12), ("noise", 4))
    )
    low, high = asked.get("min", 0), asked.get("max", math.inf)
    # Series with a seed in common move together, as load averages do.
    seed = _seed(asked.get("seed", shape), asked.get("of"))
    shift, slow, fast = (seed % 1000) / 1000, 0.7 + seed % 7 / 10, 5 + seed % 5
    turn = 2 * math.pi / DAY_MS
    times = list(range(-(-start // step) * step, end, step))
    values = []
    for at in times:
        angle = turn * at
        day = -math.cos(angle - 0.6)
        drift = (
            math.sin(angle * slow + 6.3 * shift) * 0.45 + math.sin(angle * fast + 9 * shift) * 0.22
        )
        value = base + swing * (day + drift) + rough * _noise(seed, at // step)
        values.append(round(min(max(value, low), high), 3))
    return times, values


def _wave(query: Query, start: int, end: int) -> list[Frame]:
    step = _step(query, start, end)
    return [
        _curve_frame(query, {**series, "of": query.get("of", "")}, start, end, step)
        for series in query.get("series") or [{"name": f"{query.get('refId', 'A')}-series"}]
    ]


def _curve_frame(query: Query, series: dict[str, Any], start: int, end: int, step: int) -> Frame:
    times, values = _curve(json.dumps(series, sort_keys=True), start, end, step)
    labels = dict(series.get("labels", {}))
    fields = [
        _field("time", "time", config={"interval": step}),
        _field(str(series["name"]), "number", labels=labels),
    ]
    return _frame(query, fields, [times, values])


def _categories(query: Query, start: int, _end: int) -> list[Frame]:
    """One row per name, for pies, bar gauges and short tables; shares move a little by the day."""
    names = [str(name) for name in query.get("names", ["alpha", "beta"])]
    base, falloff = float(query.get("base", 100)), float(query.get("falloff", 0.75))
    day = start // DAY_MS
    values = [
        round(base * falloff**rank * (1 + 0.12 * _noise(_seed(name, query.get("of", "")), day)), 2)
        for rank, name in enumerate(names)
    ]
    fields = [
        _field(str(query.get("label", "name")), "string"),
        _field(str(query.get("value", "value")), "number"),
    ]
    return [_frame(query, fields, [names, values])]


_CUSTOMERS = [
    "Aster & Sons",
    "Blue Anchor Ltd",
    "Café Morgenrot",
    "Delta Outfitters",
    "Edgewater Books",
    "Fjord Supply",
    "Gable Home",
    "Hallgarten KG",
    "Iris Optics",
    "Juniper Foods",
    "Kestrel Cycles",
    "Lumen Studio",
    "Marlow Gardens",
    "Northgate Tools",
]
_CITIES = (
    "Bergen",
    "Lisbon",
    "Vienna",
    "Utrecht",
    "Gdańsk",
    "Lyon",
    "Cork",
    "Graz",
    "Malmö",
    "Trieste",
)
_STATUS = (
    "paid",
    "paid",
    "shipped",
    "shipped",
    "shipped",
    "delivered",
    "delivered",
    "returned",
    "open",
)
_ORDER_FIELDS = (
    ("Order", "string"),
    ("Placed", "time"),
    ("Customer", "string"),
    ("City", "string"),
    ("Items", "number"),
    ("Net", "number"),
    ("Margin", "number"),
    ("Status", "string"),
    ("internal_id", "number"),
)


def _orders(query: Query, start: int, end: int) -> list[Frame]:
    """Orders spread evenly over the range, newest first.

    A column that panels hide and a few empty cells keep readers honest.
    """
    count = int(query.get("count", 400))
    spacing = max((end - start) // max(count, 1), 1)
    rows = [_order(number, end - (number + 1) * spacing + spacing // 2) for number in range(count)]
    fields = [_field(name, kind) for name, kind in _ORDER_FIELDS]
    return [
        _frame(
            query,
            fields,
            [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in fields],
        )
    ]


def _order(number: int, placed: int) -> tuple[Any, ...]:
    seed = _seed("order", number)
    items = 1 + seed % 7
    net = round(items * (14 + seed // 7 % 90) + seed // 11 % 100 / 100, 2)
    status = _STATUS[seed // 13 % len(_STATUS)]
    margin = None if status == "open" else round(0.12 + (seed // 17 % 300) / 1000, 3)
    customer = _CUSTOMERS[seed // 3 % len(_CUSTOMERS)]
    city = _CITIES[seed // 5 % len(_CITIES)]
    return (
        f"#{48210 - number}",
        placed,
        customer,
        city,
        items,
        net,
        margin,
        status,
        900_000 + number,
    )


def _processes(query: Query, _start: int, end: int) -> list[Frame]:
    """A line per node and process, for the nodes named in `of`."""
    kinds = ("postgres", "nginx", "media-worker", "backup")
    rows = []
    for node in str(query.get("of", "")).split(","):
        for kind in kinds[: 1 + _seed(node) % 3]:
            seed = _seed(node, kind, end // HOUR_MS)
            rows.append(
                (
                    kind,
                    node,
                    0.05 + seed % 900 / 1000,
                    (200 + seed // 7 % 9000) * 1_048_576,
                    1 + seed // 11 % 40,
                )
            )
    fields = [
        _field("Process", "string"),
        _field("Node", "string"),
        *(_field(name, "number") for name in ("CPU", "Memory", "Restarted, days ago")),
    ]
    return [_frame(query, fields, [list(column) for column in zip(*rows, strict=True)])]


def _count_of(query: Query, _start: int, end: int) -> list[Frame]:
    """How many names stand in `of`, as one value now."""
    names = [name for name in str(query.get("of", "")).split(",") if name]
    fields = [_field("time", "time"), _field(str(query.get("value", "count")), "number")]
    return [_frame(query, fields, [[end], [len(names)]])]


def _buckets(query: Query, start: int, end: int) -> list[Frame]:
    """A heat map: one column per latency bucket, counts in the cells."""
    bounds = [
        str(bound) for bound in query.get("bounds", ["10", "25", "50", "100", "250", "500", "1000"])
    ]
    step = _step(
        {**query, "maxDataPoints": min(int(query.get("maxDataPoints") or 60), 60)}, start, end
    )
    times = list(range(-(-start // step) * step, end, step))
    columns: list[list[Any]] = [times]
    for rank in range(len(bounds)):
        seed = _seed("bucket", rank, query.get("of", ""))
        columns.append([_bucket_count(seed, rank, len(bounds), at, step) for at in times])
    fields = [_field("time", "time"), *(_field(bound, "number") for bound in bounds)]
    return [_frame(query, fields, columns)]


def _bucket_count(seed: int, rank: int, ranks: int, at: int, step: int) -> int:
    middle = ranks * (0.42 + 0.16 * math.sin(2 * math.pi * at / DAY_MS))
    height = math.exp(-((rank - middle) ** 2) / (ranks * 0.45))
    return max(int(140 * height * (1 + 0.35 * _noise(seed, at // step))), 0)


def _csv_content(query: Query, _start: int, _end: int) -> list[Frame]:
    """The text given in the query; columns of numbers become numbers, empty cells null."""
    rows = list(csv.reader(io.StringIO(str(query.get("csvContent", "")))))
    if not rows:
        return []
    columns = [list(column) for column in zip(*rows[1:], strict=False)] or [[] for _ in rows[0]]
    typed = [_typed(column) for column in columns]
    fields = [_field(name, kind) for name, (kind, _) in zip(rows[0], typed, strict=False)]
    return [_frame(query, fields, [values for _, values in typed][: len(fields)])]


def _typed(column: list[str]) -> tuple[str, list[Any]]:
    empty = ("", "NaN", "null")
    try:
        return "number", [None if cell in empty else float(cell) for cell in column]
    except ValueError:
        return "string", [None if cell == "" else cell for cell in column]


def _fails(query: Query, _start: int, _end: int) -> list[Frame]:
    raise QueryError(str(query.get("message", "Server Error")))


def _nothing(_query: Query, _start: int, _end: int) -> list[Frame]:
    return []


_SCENARIOS: dict[str, Callable[[Query, int, int], list[Frame]]] = {
    "wave": _wave,
    "categories": _categories,
    "orders": _orders,
    "processes": _processes,
    "count_of": _count_of,
    "buckets": _buckets,
    "csv_content": _csv_content,
    "no_data_points": _nothing,
    "server_error_500": _fails,
}
