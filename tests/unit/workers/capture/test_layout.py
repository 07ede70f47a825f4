"""Where panels go on sheets: nothing cut, nothing lost, and no page wasted."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from workers.capture.layout import EDGE, GAP, SMALLEST, TAIL, Box, Layout, Place, lay_out, slices

WIDTH, HEIGHT = 1000.0, 1400.0
#: Of a row of Grafana's grid with its gap.
ROW = 38.0


def box(index: int, top: float, height: float, **more: float) -> Box:
    place = {"left": 0.0, "width": WIDTH} | more
    return Box(index=index, top=top, height=height, **place)


def heading(index: int, top: float) -> Box:
    return Box(index=index, left=0, top=top, width=WIDTH, height=30, heading=True)


def stacked(*heights: float) -> list[Box]:
    tops = itertools.accumulate((height + GAP for height in heights), initial=0.0)
    return [box(index, top, height) for index, (top, height) in enumerate(zip(tops, heights))]  # noqa: B905 - the last top belongs to nobody


def laid(boxes: Sequence[Box]) -> Layout:
    return lay_out(boxes, width=WIDTH, height=HEIGHT)


def pages(layout: Layout) -> list[list[int]]:
    """The boxes of each page."""
    return [
        [place.index for place in layout.places if place.page == page]
        for page in range(layout.pages)
    ]


def check(boxes: Sequence[Box], layout: Layout) -> None:
    """What holds for every layout."""
    assert SMALLEST <= layout.fit <= 1
    assert layout.room * layout.fit == HEIGHT or abs(layout.room * layout.fit - HEIGHT) < 1e-6
    assert {place.index for place in layout.places} == {box.index for box in boxes}
    for place in layout.places:
        top = place.page * layout.room
        assert top + EDGE - 1e-6 <= place.y
        assert place.y + place.height <= top + layout.room - EDGE + 1e-3, place
        assert 0 <= place.page < layout.pages
        assert -1e-6 <= place.x <= place.x + place.width <= WIDTH / layout.fit + 1e-6
    for one, other in itertools.combinations(layout.places, 2):
        assert not _overlap(one, other), (one, other)


def _overlap(one: Place, other: Place) -> bool:
    beside = one.x + 0.5 < other.x + other.width and other.x + 0.5 < one.x + one.width
    return beside and one.y + 0.5 < other.y + other.height and other.y + 0.5 < one.y + one.height


def test_what_fits_on_one_page_stays_as_it_is() -> None:
    layout = laid(stacked(300, 300, 300))
    assert (layout.pages, layout.fit) == (1, 1)
    assert [place.y for place in layout.places] == [EDGE, 310, 618]


def test_panels_side_by_side_stay_so() -> None:
    left, right = box(0, 0, 800, width=490.0), box(1, 0, 700, left=510.0, width=490.0)
    layout = laid([left, right, *[box(2, 808, 800)]])
    assert pages(layout) == [[0, 1], [2]]
    assert layout.places[0].y == layout.places[1].y


def test_a_little_smaller_is_better_than_a_page_more() -> None:
    layout = laid(stacked(400, 400, 400, 250))
    assert layout.pages == 1
    assert 0.9 <= layout.fit < 1


def test_a_page_more_is_better_than_much_smaller() -> None:
    layout = laid(stacked(500, 500, 500, 500))
    assert (layout.pages, layout.fit) == (2, 1)


def test_pages_are_filled_evenly_and_not_the_last_one_with_one_panel() -> None:
    assert pages(laid(stacked(*[400] * 10))) in (
        [[0, 1, 2], [3, 4, 5], [6, 7], [8, 9]],
        [[0, 1], [2, 3, 4], [5, 6], [7, 8, 9]],
        [[0, 1], [2, 3], [4, 5, 6], [7, 8, 9]],
        [[0, 1, 2], [3, 4], [5, 6], [7, 8, 9]],
        [[0, 1, 2], [3, 4], [5, 6, 7], [8, 9]],
        [[0, 1], [2, 3, 4], [5, 6, 7], [8, 9]],
    )


def test_the_simple_layout_fills_each_page_as_far_as_it_goes() -> None:
    layout = lay_out(stacked(*[450] * 7), width=WIDTH, height=HEIGHT, evenly=False)
    assert pages(layout) == [[0, 1, 2], [3, 4, 5], [6]]


def test_a_page_rather_begins_with_a_row() -> None:
    rows = [box(0, 0, 450), box(1, 458, 450), heading(2, 916), box(3, 954, 420), box(4, 1382, 420)]
    assert pages(laid(rows)) == [[0, 1], [2, 3, 4]]


def test_a_heading_never_stands_alone_at_the_foot_of_a_page() -> None:
    boxes = [box(0, 0, 1000), box(1, 1008, 340), heading(2, 1356), box(3, 1394, 600)]
    assert pages(laid(boxes)) == [[0, 1], [2, 3]]


def test_a_panel_a_little_taller_than_a_page_is_shrunk_onto_one() -> None:
    [place] = laid([box(0, 0, 1700)]).places
    assert 0.75 < place.zoom < 1
    assert abs(place.height / place.zoom - 1700) < 1e-6


def test_columns_that_never_end_together_run_over_pages_panel_by_panel() -> None:
    left = [box(number, number * 408, 400, width=490.0) for number in range(12)]
    right = [box(20 + number, number * 508, 500, left=510.0, width=490.0) for number in range(10)]
    layout = laid([*left, *right])
    check([*left, *right], layout)
    assert all(place.zoom == 1 for place in layout.places)
    assert layout.pages <= 5


def table(height: float, rows: float = 36.0, head: float = 70.0) -> Box:
    cuts = itertools.takewhile(lambda cut: cut < height, itertools.count(head + rows, rows))
    return Box(index=0, left=0, top=0, width=WIDTH, height=height, cuts=tuple(cuts), head=head)


def test_a_table_taller_than_pages_is_continued_at_a_row_with_its_head_repeated() -> None:
    tall = table(5000)
    layout = laid([tall])
    check([tall], layout)
    first, *more = layout.places
    assert (first.start, first.head) == (0, 0)
    assert [place.page for place in layout.places] == list(range(layout.pages))
    assert all(place.head == 70 and place.zoom == 1 for place in more)
    shown = first.height
    for place in more:
        assert place.start == shown
        assert (place.start - 70) % 36 == 0
        shown += place.height - place.head
    # The last row, and not the empty space below it.
    assert shown == tall.cuts[-1] + TAIL


def test_a_tall_table_with_few_rows_takes_no_more_room_than_they_need() -> None:
    few = Box(index=0, left=0, top=0, width=WIDTH, height=4000, cuts=(106.0, 142.0, 178.0), head=70)
    [place] = laid([few]).places
    assert (place.height, place.zoom) == (178 + TAIL, 1)


def test_what_follows_a_continued_table_goes_on_its_last_page() -> None:
    boxes = [table(2000), box(1, 2008, 200)]
    layout = laid(boxes)
    check(boxes, layout)
    assert layout.pages == 2
    assert layout.places[-1].page == 1


def test_a_tall_panel_that_is_no_table_is_shrunk_and_not_cut() -> None:
    [place] = laid([box(0, 0, 5000)]).places
    assert place.whole
    assert abs(place.zoom - (place.height / 5000)) < 1e-9


def test_nothing_is_one_empty_page() -> None:
    assert laid([]) == Layout(pages=1, fit=1, room=HEIGHT, places=())


#: Without a deadline: how long an example takes says more of the machine than of the code.
SETTINGS = settings(max_examples=300, deadline=None)


@st.composite
def grids(draw: st.DrawFn) -> list[Box]:
    """Panels as Grafana packs them: in columns, each below what stands there already."""
    columns = 4
    floor = [0.0] * columns
    boxes: list[Box] = []
    for index in range(draw(st.integers(1, 40))):
        if draw(st.integers(0, 7)) == 0:
            top = max(floor)
            boxes.append(heading(index, top))
            floor = [top + 38] * columns
            continue
        wide = draw(st.integers(1, columns))
        column = draw(st.integers(0, columns - wide))
        height = draw(st.integers(2, 60)) * ROW - GAP
        top = max(floor[column : column + wide])
        left = column * WIDTH / columns
        boxes.append(box(index, top, height, left=left, width=wide * WIDTH / columns - GAP))
        floor[column : column + wide] = [top + height + GAP] * wide
    return boxes


@SETTINGS
@given(grids())
def test_no_panel_is_lost_cut_or_put_on_another(boxes: list[Box]) -> None:
    layout = laid(boxes)
    check(boxes, layout)
    assert len(layout.places) == len(boxes)


@SETTINGS
@given(grids())
def test_no_page_is_left_empty(boxes: list[Box]) -> None:
    layout = laid(boxes)
    assert all(pages(layout))


# The image for mails


def test_an_image_is_cut_between_panels() -> None:
    boxes = stacked(900, 900, 900, 900)
    parts = slices(boxes, height=3624, most=2000)
    assert parts == [(0, 1812), (1812, 3624)]


def test_a_small_image_is_one_slice() -> None:
    assert slices(stacked(300, 300), height=608, most=2000) == [(0, 608)]


@SETTINGS
@given(grids())
def test_slices_are_the_whole_image_and_none_is_too_tall(boxes: list[Box]) -> None:
    height = max(box.bottom for box in boxes)
    parts = slices(boxes, height=height, most=2000)
    assert parts[0][0] == 0
    assert parts[-1][1] == height
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(parts))
    assert all(0 < bottom - top <= 2000 for top, bottom in parts)
