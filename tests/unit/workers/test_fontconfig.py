"""Fonts: what an operator is told of them."""

from __future__ import annotations

from workers import fontconfig


def test_scripts_that_no_font_can_write_are_named() -> None:
    assert fontconfig.lacking(["en", "ar", "he", "hi", "th", "ja"]) == (
        "Chinese",
        "Korean",
        "emoji",
    )
    assert "Chinese, Korean, emoji" in fontconfig.advice(
        frozenset({"en", "ar", "he", "hi", "th", "ja"})
    )


def test_a_machine_with_fonts_for_all_needs_no_advice() -> None:
    assert fontconfig.advice(frozenset(fontconfig.SCRIPTS.values())) == ""


def test_a_machine_without_any_font_is_told_that_pages_come_out_without_text() -> None:
    assert "without text" in fontconfig.advice(frozenset())


def test_a_machine_that_cannot_tell_is_told_so() -> None:
    assert fontconfig.languages({"PATH": "/nonexistent"}) is None
    assert "fc-list" in fontconfig.advice(None)
