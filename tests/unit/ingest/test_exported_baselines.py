"""Ranges of ``bemi baseline --to``: the sink does not wait for more while somebody waits for a range."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bemi_django.exceptions import ProtocolError
from bemi_django.ingest.loop.exported_baselines import ExportedBaselines
from bemi_django.ingest.loop.transaction import OpenTransaction
from bemi_django.ingest.protocol.messages import Begin
from bemi_django.masking.rules import Rules


def read(found: list[Any], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Read a transaction that somebody has marked, for which the source has these ranges; return calls."""
    calls: list[str] = []
    session: Any = SimpleNamespace(slot="sink")
    ranges = ExportedBaselines(
        session, lambda xid: True, lambda: True, Rules(), lambda: calls.append("hurry")
    )
    monkeypatch.setattr(ExportedBaselines, "_ask", lambda *_: found)

    def refuse(*_: object) -> None:
        raise ProtocolError("the key of the table is masked")

    monkeypatch.setattr(ExportedBaselines, "_range", refuse)
    transaction = OpenTransaction(Begin(1, 0, 7), 7, is_logged=False, is_notable=True)
    try:
        ranges.read(transaction)
    except ProtocolError as error:
        calls.append(str(error))
    return calls


def test_a_range_that_is_refused_is_hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read([("sink", {}, "", "0/8", "1:1:")], monkeypatch) == ["hurry", "the key of the table is masked"]


def test_marks_of_others_hurry_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read([], monkeypatch) == []
