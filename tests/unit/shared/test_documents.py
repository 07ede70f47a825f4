"""Names of files: harmless on every file system, in every archive and in every header."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata

import pytest

from shared import documents
from tests.hostile import TEXTS
from workers import pipeline

AT = dt.datetime(2026, 1, 5, 9, tzinfo=dt.UTC)
DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d|com[¹²³]|lpt[¹²³])")


@pytest.mark.parametrize("text", TEXTS)
def test_a_name_is_one_harmless_part_of_a_path(text: str) -> None:
    name = f"{documents.stem(text, AT)}-2.csv"
    assert name.endswith("-2026-01-05-2.csv")
    assert not set('/\\:*?"<>|%$`;&~') & set(name)
    assert all(unicodedata.category(letter)[0] in "LNM" or letter in " _.()-" for letter in name), (
        name
    )
    assert ".." not in name or "…" in name or not name.startswith(".")
    assert name[0] not in " .-"
    assert len(name.encode()) <= 255
    assert not DEVICES.fullmatch(name.partition(".")[0].strip())


@pytest.mark.parametrize("text", TEXTS)
def test_a_name_of_ours_goes_out_as_it_is_and_any_other_harmless(text: str) -> None:
    ours = f"{documents.stem(text, AT)}-2.csv"
    assert documents.harmless(ours) == ours
    other = documents.harmless(text)
    assert other
    assert all(unicodedata.category(letter)[0] in "LNM" or letter in " _.()-" for letter in other)
    assert len(other.encode()) <= 255


@pytest.mark.parametrize(
    ("text", "stem"),
    [
        ("Weekly figures", "Weekly figures"),
        ("Łódź (все) 数据", "Łódź (все) 数据"),
        ("साप्ताहिक रिपोर्ट", "साप्ताहिक रिपोर्ट"),
        ("CPU / memory: 95 %", "CPU - memory- 95"),
        ("con.txt", "con-txt"),
        ("Console.log", "Console.log"),
        ("", "report"),
        ("../..", "report"),
    ],
)
def test_a_name_stays_readable(text: str, stem: str) -> None:
    assert documents.stem(text, AT) == f"{stem}-2026-01-05"


def test_a_long_name_is_cut_between_letters() -> None:
    name = documents.stem("क्षि" * 500, AT)
    assert "\ufffd" not in name
    assert len(name) > 40


def test_files_of_a_run_have_names_that_differ_in_more_than_capitals() -> None:
    names = [
        "A.pdf",
        "a.pdf",
        "A.PDF",
        "a-2.pdf",
        "é.pdf",
        "e\u0301.pdf",
        "ß.csv",
        "SS.csv",
        "ﬁ.csv",
    ]
    names += ["fi.csv", "K.csv", "\u212a.csv"]
    files = pipeline._distinct([pipeline._File("pdf", name, b"") for name in names])
    alike = [documents.same(file.name) for file in files]
    assert len(set(alike)) == len(names)
    assert files[0].name == "A.pdf"
    assert files[1].name == "a-2.pdf"
    assert files[2].name == "A-3.PDF"


def test_very_many_files_of_one_name_are_numbered_at_once() -> None:
    files = pipeline._distinct([pipeline._File("csv", "a.csv", b"")] * 20_000)
    assert len({file.name for file in files}) == 20_000
