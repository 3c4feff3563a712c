"""The parts of a request's context that need no request: its ids, and who sent it."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest

from bemi_django.capture.comment import without_comment
from bemi_django.capture.proxies import TrustedProxies, is_trusted_peer
from bemi_django.capture.run_ids import made_at, new_id, request_ids


@pytest.mark.parametrize("header", ["", "with blanks", "x" * 201, "é"])
def test_a_header_that_is_no_id_is_ignored(header: str) -> None:
    for is_trusted in (True, False):
        (name, value) = request_ids(header, is_trusted=is_trusted).popitem()
        assert name == "request_id" and re.fullmatch("[0-9a-f]{32}", value)


def test_an_id_says_when_it_was_made() -> None:
    before = datetime.now(timezone.utc)
    ids = [new_id() for _ in range(50)]
    assert len(set(ids)) == len(ids) and {UUID(made).version for made in ids} == {7}
    for found in ids:
        at = made_at(found)
        assert at and before - timedelta(milliseconds=1) <= at <= datetime.now(timezone.utc)


@pytest.mark.parametrize(
    "other",
    ["r", "\0", str(uuid4()), "f" * 12 + "7" + "f" * 3 + "8" + "f" * 15, "0" * 12 + "70000" + "0" * 15],
)
def test_other_ids_do_not_say_it(other: str) -> None:
    assert made_at(other) is None


def test_only_a_trusted_peer_chooses_the_id() -> None:
    assert request_ids("theirs", is_trusted=True) == {"request_id": "theirs"}
    ids = request_ids("theirs", is_trusted=False)
    assert ids["client_request_id"] == "theirs" != ids["request_id"]


@pytest.mark.parametrize(
    ("setting", "remote", "is_trusted"),
    [
        (None, "10.0.0.1", False),
        (0, "10.0.0.1", False),
        (1, "6.6.6.6", True),
        (["10.0.0.0/8"], "10.0.0.1", True),
        (["10.0.0.0/8"], "6.6.6.6", False),
        (["unix:"], "", True),
        (["10.0.0.0/8"], "", False),
    ],
)
def test_a_peer_is_trusted_if_the_setting_names_it(setting: Any, remote: str, is_trusted: bool) -> None:
    assert is_trusted_peer(remote, TrustedProxies.of(setting)) is is_trusted


@pytest.mark.parametrize(
    ("sql", "statement"),
    [
        ("SELECT 1", "SELECT 1"),
        ('/*Bemi {"a": 1} Bemi*/ SELECT 1', "SELECT 1"),
        ("/*Bemi {", "/*Bemi {"),
        ("/* Bemi */ SELECT 1", "/* Bemi */ SELECT 1"),
    ],
)
def test_a_statement_without_its_comment(sql: str, statement: str) -> None:
    assert without_comment(sql) == statement
