"""What is said of a JSON text without asking the server is what the server says."""

from __future__ import annotations

import json

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bemi_django.ingest.rows.jsonb_limits import NotJsonb, is_jsonb, require_jsonb
from tests.support.cluster import Cluster

TEXTS = [
    r'"\u0000"',
    r'"\\u0000"',
    r'"\\\u0000"',
    r'"\ud800"',
    r'"\ud83d\ude00"',
    r'"\ude00\ud83d"',
    r'{"\u0000": 1}',
    '{"a": 1, "a": 2}',
    "1e131071",
    "1e131072",
    "1e1000000",
    "-9.9e131071",
    "1e-16383",
    "1e-16384",
    "1.5e-16383",
    "0e999999",
    "0e-999999",
    "0.0e10",
    "1" * 131_072,
    "1" * 131_073,
    "0." + "1" * 16_383,
    "0." + "1" * 16_384,
    "1" + "0" * 5_000 + ".5",
    "[" * 500 + "]" * 500,
    " [1 , 2 ] ",
    "NaN",
    "[1,]",
    "01",
    '"\t"',
    "",
]


def is_taken(cluster: Cluster, text: str) -> bool:
    try:
        cluster.run("SELECT %s::jsonb IS NULL", [text])
    except psycopg2.DataError:
        return False
    return True


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text[:12])
def test_the_server_says_the_same(log_cluster: Cluster, text: str) -> None:
    assert is_jsonb(text.encode()) == is_taken(log_cluster, text)
    try:
        log_cluster.run("SELECT %s::json IS NULL", [text])
    except psycopg2.DataError:
        # The stream brings no such value.
        return
    if is_jsonb(text.encode()):
        assert require_jsonb(text.encode()) == text.encode()
    else:
        with pytest.raises(NotJsonb):
            require_jsonb(text.encode())


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=5)
)
documents = st.recursive(scalars, lambda part: st.lists(part) | st.dictionaries(st.text(max_size=3), part))


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(documents, st.booleans())
def test_the_server_says_the_same_of_any_document(
    log_cluster: Cluster, document: object, ascii_: bool
) -> None:
    text = json.dumps(document, ensure_ascii=ascii_).encode("utf-8", "replace").decode()
    assert is_jsonb(text.encode()) == is_taken(log_cluster, text)
