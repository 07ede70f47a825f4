from __future__ import annotations

import re
from datetime import timedelta
from functools import partial

import pytest

from shared.documents import Document
from tests.unit.workers.test_messages import MB, SALES, SLOT, document, images_of, spec
from workers import letters, messages
from workers.letters import REST
from workers.messages import Letter, Letters, Links

LINKS = Links(
    addresses={
        number: f"https://reports.example.org/api/reports/documents/{number}?signature=s{number}"
        for number in range(1, 9)
    },
    until=SLOT + timedelta(days=7),
)


def write(
    *documents: Document,
    limit: int = 10 * MB,
    server_limit: int | None = None,
    links: Links | None = LINKS,
) -> Letters:
    sizes = {one.id: messages.encoded(one.size) for one in documents}

    def measure(letter: Letter) -> int:
        carried = [*letter.attachments, *(number for _, number in letter.images)]
        return REST // 2 + sum(sizes[number] for number in carried)

    return letters.write(
        partial(
            messages.compose,
            spec(),
            [SALES],
            documents,
            pictures={one.id: 0 for one in images_of(documents)},
            branding={},
            slot=SLOT,
            now=SLOT,
            grafana_public_url="https://grafana.example.org",
            links=links,
        ),
        documents,
        limit=limit,
        server_limit=server_limit,
        measure=measure,
    )


def test_what_fits_travels_and_there_is_a_light_letter_for_a_server_that_thinks_otherwise() -> None:
    made = write(document(1), document(2, "csv"), document(3, "image"))
    assert made.attached == "all"
    assert (made.full.attachments, [number for _, number in made.full.images]) == ((1, 2), [3])
    assert made.light is not None
    assert (made.light.attachments, made.light.images) == ((), ())
    for letter in (made.light.text, made.light.html):
        assert "too large for the mail server" in letter
        for number in (1, 2, 3):
            assert f"/api/reports/documents/{number}?signature=s{number}" in letter
    assert "Not attached" not in made.full.text


def test_what_does_not_fit_has_a_link_that_says_until_when_it_works() -> None:
    made = write(document(1, size=20 * MB), document(2, "csv"))
    assert (made.attached, made.full.attachments) == ("some", (2,))
    assert LINKS.addresses[1] in made.full.text
    assert f'href="{LINKS.addresses[1]}"' in made.full.html
    assert LINKS.addresses[2] not in made.full.text
    for letter in (made.full.text, made.full.html):
        assert "until 2026-01-12 09:00 (Europe/Berlin, +01:00)" in letter


def test_without_an_address_of_ours_the_note_says_where_the_files_are() -> None:
    made = write(document(1, size=20 * MB), document(2), links=None)
    assert made.light is not None
    for letter in (made.full, made.light):
        assert "can fetch what is missing here from Broadsheet" in letter.text
        assert "https://" not in letter.text
        assert "until" not in letter.text


def test_a_letter_that_carries_nothing_needs_no_lighter_one() -> None:
    made = write(document(1, size=20 * MB))
    assert (made.attached, made.light) == ("none", None)
    assert made.of("none") is made.full


def test_a_run_without_files_has_one_letter() -> None:
    made = write()
    assert (made.attached, made.light) == ("all", None)


@pytest.mark.parametrize(("server_limit", "carried"), [(9 * MB, (1, 2, 3)), (6 * MB, (1, 2))])
def test_a_limit_of_the_server_is_for_the_whole_mail(
    server_limit: int, carried: tuple[int, ...]
) -> None:
    made = write(
        *(document(number, size=2 * MB) for number in (1, 2, 3)), server_limit=server_limit
    )
    assert made.full.attachments == carried
    if len(carried) < 3:
        assert "the mail server takes no mail above 6 MB" in made.full.text


def test_a_server_that_takes_next_to_nothing_gets_next_to_nothing() -> None:
    made = write(
        document(1), document(2, "csv", size=0), document(3, "csv", size=0), server_limit=1000
    )
    assert (made.attached, made.full.attachments, made.full.images) == ("none", (), ())


def test_both_letters_survive_their_way_through_json_and_old_ones_are_read() -> None:
    made = write(document(1))
    read = Letters.from_json(made.to_json())
    assert (read.full, read.light) == (made.full, made.light)
    assert read.of("all") == made.full
    assert read.of("some") == made.full
    assert read.of("none") == made.light
    assert Letters.from_json(made.full.to_json()) == Letters(full=made.full)


def test_the_same_run_makes_the_same_letters() -> None:
    documents = (document(1, size=20 * MB), document(2), document(3, "image"))
    assert write(*documents) == write(*documents)


def test_html_and_text_say_the_same_of_what_is_left_out() -> None:
    made = write(document(1, size=20 * MB), document(2))
    for letter in (made.full, made.light):
        assert letter is not None
        addresses = [re.findall(r"https://[^\"\s<]+", part) for part in (letter.text, letter.html)]
        assert addresses[0] == addresses[1] != []
