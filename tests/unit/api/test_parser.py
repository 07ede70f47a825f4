from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import BadRequest

from api.errors import sentence
from api.parser import MAX_DEPTH, parse_json

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=20,
)  # fmt: skip


@given(values)
def test_every_json_value_is_read_as_it_is(value: Any) -> None:
    assert parse_json(json.dumps(value).encode()) == value


@given(st.binary())
def test_no_bytes_raise_anything_but_400(content: bytes) -> None:
    with contextlib.suppress(BadRequest):
        parse_json(content)


def test_the_deepest_value_that_is_taken() -> None:
    parse_json("[" * MAX_DEPTH + "1" + "]" * MAX_DEPTH)
    with pytest.raises(BadRequest, match="nested"):
        parse_json("[" * (MAX_DEPTH + 1) + "1" + "]" * (MAX_DEPTH + 1))


def test_a_tree_of_messages_becomes_one_line_with_paths() -> None:
    tree = {"a": {0: {"b": ["is wrong", "is odd"]}}, "_schema": ["too much"], "c": {"_schema": "x"}}
    assert sentence(tree) == "a[0].b: is wrong; a[0].b: is odd; too much; c: x"
