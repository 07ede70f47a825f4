"""Page layout: which panel goes where on which sheet. Pure arithmetic in layout pixels.

Panels that overlap vertically form a band and stay side by side; a row's heading goes with the
band below it; what belongs together so is a block, and pages break between blocks only. Nothing
is cut but a table that says where it may be, at the border of two of its rows.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

#: Grafana's gap between panels, kept between blocks.
GAP = 8.0
#: Kept free above and below, so that no border falls on the break itself.
EDGE = 2.0
#: How far printing may shrink a layout, to save a page or fill the pages better.
SMALLEST = 0.9
STEP = 0.02
#: From so many panels on only the full size is tried: to flow them takes the square of that.
MANY = 500
#: A band that is taller than a page is shrunk onto one, down to this; below, its panels are
#: moved to where each fits, and only what is taller than a page by itself is shrunk.
SHRUNK = 0.75
#: What an empty page would cost, in pages; what a nearly full one costs, is next to nothing.
WHITE = 0.5
#: What a break before a row's heading is worth, in pages: a reader looks for it there.
AT_HEADING = 0.15
#: What is shown of a table below its last row.
TAIL = 24.0
#: A table is begun at the foot of a page only if this share of it is free.
WORTH_BEGINNING = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A panel or a row's heading as the browser laid it out, relative to the grid.

    `cuts` are the offsets from its top at which it may be cut, `head` is how much of its top is
    repeated above each continuation: title and column headings of a table.
    """

    index: int
    left: float
    top: float
    width: float
    height: float
    heading: bool = False
    cuts: tuple[float, ...] = ()
    head: float = 0.0

    @property
    def bottom(self) -> float:
        """Where it ends."""
        return self.top + self.height


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a box, or a piece of one, goes: `y` runs through all pages, `page` tells which.

    A piece shows `height` pixels: the box's first `head`, then its content from `start` on.
    """

    index: int
    page: int
    x: float
    y: float
    width: float
    height: float
    zoom: float = 1.0
    start: float = 0.0
    head: float = 0.0
    whole: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """All places. The sheet is printed at `fit` of its scale; a page then has `room` pixels."""

    pages: int
    fit: float
    room: float
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class _Block:
    boxes: tuple[Box, ...]
    top: float
    height: float

    @property
    def begins_row(self) -> bool:
        return self.boxes[0].heading


def lay_out(boxes: Sequence[Box], *, width: float, height: float, evenly: bool = True) -> Layout:
    """Return where each box goes on sheets of `width` × `height`.

    Of all sizes down to `SMALLEST` the one is taken that costs least: fewer and fuller pages
    against smaller print. Pages are filled `evenly`, or each as far as it goes.
    """
    blocks = _blocks(boxes)
    best: Layout | None = None
    best_cost = 0.0
    steps = 0 if len(boxes) > MANY else round((1 - SMALLEST) / STEP)
    for step in range(steps + 1):
        sheets = _Sheets(width, height, 1 - step * STEP, white=WHITE if evenly else 0.0)
        filled, cost = _filled(sheets, blocks)
        if best is None or cost < best_cost - 1e-9:
            best, best_cost = filled, cost
    assert best is not None  # noqa: S101 - the loop runs at least once
    return best


def slices(boxes: Sequence[Box], *, height: float, most: float) -> list[tuple[float, float]]:
    """Return (top, bottom) of the parts that an image of `height` is cut into.

    Each is at most `most` tall. Cuts fall between bands; only a band that is taller is cut.
    """
    borders = [0.0, *(block.top - GAP / 2 for block in _blocks(boxes)[1:]), height]
    parts: list[tuple[float, float]] = []
    top = 0.0
    for before, border in itertools.pairwise(borders):
        if border - top > most and before > top:
            parts.append((top, before))
            top = before
        while border - top > most:
            parts.append((top, top + most))
            top += most
    if height > top:
        parts.append((top, height))
    return parts


# -- what belongs together ----------------------------------------------------------------------


def _blocks(boxes: Sequence[Box]) -> list[_Block]:
    bands: list[list[Box]] = []
    bottom = 0.0
    for box in sorted(boxes, key=lambda box: (box.top, box.left)):
        if bands and box.top < bottom - 1:
            bands[-1].append(box)
            bottom = max(bottom, box.bottom)
        else:
            bands.append([box])
            bottom = box.bottom
    blocks: list[list[Box]] = []
    for band in bands:
        if blocks and all(box.heading for box in blocks[-1]):
            blocks[-1] += band
        else:
            blocks.append(band)
    return [_block(block) for block in blocks]


def _block(boxes: Sequence[Box]) -> _Block:
    top = min(box.top for box in boxes)
    return _Block(tuple(boxes), top, max(box.bottom for box in boxes) - top)


# -- filling pages ------------------------------------------------------------------------------


@dataclass(slots=True)
class _Sheets:
    """What is being filled: pages of `room`, of which `usable` may be printed on."""

    width: float
    height: float
    fit: float
    #: What an empty page would cost, in pages.
    white: float
    places: list[Place] = field(default_factory=list)
    #: The page in hand, and how much of it is taken.
    page: int = 0
    used: float = 0.0
    cost: float = 0.0

    @property
    def room(self) -> float:
        return self.height / self.fit

    @property
    def indent(self) -> float:
        return (self.width / self.fit - self.width) / 2

    @property
    def usable(self) -> float:
        return self.room - 2 * EDGE

    def top_of(self, page: int) -> float:
        return page * self.room + EDGE

    def turn(self) -> None:
        """End the page in hand, unless it is empty."""
        if self.used > 0:
            self.cost += self.waste(self.used)
            self.page += 1
            self.used = 0.0

    def waste(self, used: float) -> float:
        """Return what the white of a page costs: little where it is nearly full."""
        return self.white * max(1 - used / self.usable, 0.0) ** 2


def _filled(sheets: _Sheets, blocks: Sequence[_Block]) -> tuple[Layout, float]:
    waiting: list[_Block] = []
    for block in blocks:
        if block.height * SHRUNK <= sheets.usable:
            waiting.append(block)
            continue
        _fill(sheets, waiting)
        waiting = []
        _flow(sheets, block)
    _fill(sheets, waiting)
    sheets.turn()
    pages = max(sheets.page, 1)
    layout = Layout(pages=pages, fit=sheets.fit, room=sheets.room, places=tuple(sheets.places))
    return layout, (pages + sheets.cost) / sheets.fit**2


def _fill(sheets: _Sheets, blocks: Sequence[_Block]) -> None:
    """Put blocks on pages, broken where that leaves the least white; the best of all ways."""
    if not blocks:
        return
    usable = sheets.usable
    tall = [min(block.height, usable) for block in blocks]
    count = len(blocks)
    # best[i]: the cost of all pages from block i on, where block i begins a page; and its end.
    best: list[tuple[float, int]] = [(0.0, count)] * (count + 1)

    def cheapest(first: int, taken: float) -> tuple[float, int]:
        found: tuple[float, int] | None = None
        used = taken
        for last in range(first, count):
            used += tall[last] + (GAP if used else 0.0)
            if used > usable + 1e-6 and (last > first or taken):
                break
            cost = 1 + sheets.waste(used) + best[last + 1][0]
            if last + 1 < count and blocks[last + 1].begins_row:
                cost -= AT_HEADING
            # Of equals the fuller page.
            if found is None or cost <= found[0]:
                found = cost, last + 1
        return found or (float("inf"), first)

    for first in range(count - 1, -1, -1):
        best[first] = cheapest(first, 0.0)
    begin = 0
    if sheets.used > 0:
        cost, end = cheapest(0, sheets.used)
        # Beginning a new page costs that page, so going on wins wherever something fits.
        if end > 0 and cost <= best[0][0] + 1 + sheets.waste(sheets.used):
            _stack(sheets, blocks[:end])
            begin = end
        if begin < count:
            sheets.turn()
    while begin < count:
        end = best[begin][1]
        _stack(sheets, blocks[begin:end])
        begin = end
        if begin < count:
            if blocks[begin].begins_row:
                sheets.cost -= AT_HEADING
            sheets.turn()


def _stack(sheets: _Sheets, blocks: Sequence[_Block]) -> None:
    """Put blocks one under the other on the page in hand."""
    for block in blocks:
        zoom = min(1.0, sheets.usable / block.height)
        below = sheets.used + GAP if sheets.used > 0 else 0.0
        start = sheets.top_of(sheets.page) + below
        for box in block.boxes:
            sheets.places.append(
                _placed(
                    box,
                    page=sheets.page,
                    x=sheets.indent + box.left * zoom + (1 - zoom) * sheets.width / 2,
                    y=start + (box.top - block.top) * zoom,
                    zoom=zoom,
                )
            )
        sheets.used = below + block.height * zoom


def _placed(box: Box, *, page: int, x: float, y: float, zoom: float) -> Place:
    return Place(
        index=box.index,
        page=page,
        x=x,
        y=y,
        width=box.width * zoom,
        height=box.height * zoom,
        zoom=zoom,
    )


# -- a block that is taller than a page ---------------------------------------------------------


def _flow(sheets: _Sheets, block: _Block) -> None:
    """Let the panels of a block run over pages, each in its column, none cut.

    Panels that begin side by side are moved together. A panel that is taller than a page begins
    one: shrunk, or, where it is a table, in pieces.
    """
    if sheets.used > sheets.usable * (1 - WORTH_BEGINNING):
        sheets.turn()
    begin = sheets.top_of(sheets.page) + (sheets.used + GAP if sheets.used > 0 else 0.0)
    ends: list[tuple[Box, float]] = []
    last = begin
    for group in _groups(block.boxes, sheets.usable):
        top = min(box.top for box in group)
        y = begin + top - block.top
        for box, end in ends:
            if any(_beside(box, other) for other in group):
                y = max(y, end + max(top - box.bottom, 0.0))
        if ends:
            # What was shrunk leaves room: nothing stands further below all the rest than a gap.
            y = min(y, last + GAP)
        y = _where_it_fits(sheets, group, top, y)
        for box in group:
            end = _put(sheets, box, y + box.top - top)
            ends.append((box, end))
            last = max(last, end)
    # The white of the pages in between is nobody's fault; only the last one can be filled.
    sheets.page = int((last - 1) // sheets.room)
    sheets.used = last - sheets.top_of(sheets.page)


def _groups(boxes: Sequence[Box], usable: float) -> list[list[Box]]:
    """Panels that begin side by side; a heading with what comes next, if a page holds both."""
    groups: list[list[Box]] = []
    for box in sorted(boxes, key=lambda box: (box.top, box.left)):
        if groups and abs(groups[-1][-1].top - box.top) <= 1:
            groups[-1].append(box)
            continue
        if (
            groups
            and all(other.heading for other in groups[-1])
            and box.bottom - groups[-1][0].top <= usable
        ):
            groups[-1].append(box)
            continue
        groups.append([box])
    return groups


def _beside(one: Box, other: Box) -> bool:
    """Whether they stand in the same column."""
    return one.left < other.left + other.width - 1 and other.left < one.left + one.width - 1


def _where_it_fits(sheets: _Sheets, group: Sequence[Box], top: float, y: float) -> float:
    """Return `y`, or the top of the next page where the group would cross its end."""
    page = int(y // sheets.room)
    room = sheets.top_of(page) + sheets.usable - y
    tall = max(box.bottom for box in group) - top
    if tall <= room + 1e-6:
        return max(y, sheets.top_of(page))
    begun = y - sheets.top_of(page) > GAP
    in_pieces = tall > sheets.usable and all(box.cuts for box in group if box.height > room)
    if in_pieces and room >= WORTH_BEGINNING * sheets.usable:
        return max(y, sheets.top_of(page))
    return sheets.top_of(page + 1) if begun else max(y, sheets.top_of(page))


def _put(sheets: _Sheets, box: Box, y: float) -> float:
    """Place one box at `y`, and return where it ends."""
    page = int(y // sheets.room)
    room = sheets.top_of(page) + sheets.usable - y
    if box.height <= room + 1e-6:
        sheets.places.append(
            _placed(box, page=page, x=sheets.indent + box.left, y=y, zoom=1.0),
        )
        return y + box.height
    pieces = _pieces(box, room, sheets.usable)
    if not pieces:
        zoom = room / box.height
        x = sheets.indent + box.left + (1 - zoom) * box.width / 2
        sheets.places.append(_placed(box, page=page, x=x, y=y, zoom=zoom))
        return y + room
    end = y
    for number, (start, stop) in enumerate(pieces):
        at = y if number == 0 else sheets.top_of(page + number)
        head = box.head if number else 0.0
        piece = _placed(box, page=page + number, x=sheets.indent + box.left, y=at, zoom=1.0)
        tall = head + stop - start
        sheets.places.append(replace(piece, height=tall, start=start, head=head, whole=False))
        end = at + tall
    return end


def _pieces(box: Box, room: float, usable: float) -> list[tuple[float, float]]:
    """Return from where to where each piece shows the box; empty: it cannot be cut so.

    Nothing is shown of the empty space below the last row.
    """
    cuts = sorted(cut for cut in box.cuts if box.head < cut < box.height)
    if not cuts:
        return []
    bottom = min(box.height, cuts[-1] + TAIL)
    pieces: list[tuple[float, float]] = []
    start, free = 0.0, room
    while bottom - start > free + 1e-6:
        fitting = bisect.bisect_right(cuts, start + free)
        if not fitting or cuts[fitting - 1] <= start:
            return []
        pieces.append((start, cuts[fitting - 1]))
        start, free = cuts[fitting - 1], usable - box.head
    pieces.append((start, bottom))
    return pieces
