"""Rows whose keys are of any type, and look like anything, are erased, and given to whom they are about."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bemi_django import bound_context
from bemi_django.models import Change
from bemi_django.schema import tracking
from tests.integration.erasure.conftest import Bemi
from tests.support.key_kinds import KINDS, kinds_of_keys, printed, write_rows
from tests.support.pipeline import Drain
from tests.support.project_database import execute

REASON = ("--reason", "request 7", "--noinput")


@pytest.fixture
def kinds(drain: Drain) -> Iterator[None]:
    with kinds_of_keys():
        tracking.sync()
        yield


def logged(*tables: str) -> str:
    kept = execute('SELECT to_jsonb(c)::text FROM changes c WHERE "table" = ANY (%s)', [list(tables)])
    return "\n".join(text for (text,) in kept)


def forms(text: str) -> set[str]:
    """How a key may stand in JSON."""
    once = json.dumps(text, ensure_ascii=False)[1:-1]
    return {once, json.dumps(once, ensure_ascii=False)[1:-1]}


def test_a_row_with_a_key_of_any_type_is_disclosed_and_erased(
    kinds: None, drain: Drain, bemi: Bemi, settings: Any, tmp_path: Path
) -> None:
    settings.BEMI_MASK_KEY = "0123456789abcdef"
    for name, kind in KINDS.items():
        with bound_context(path=f"/kinds/{kind.key}/items/", user_id=7):
            write_rows(name)
    drain()
    for name, kind in KINDS.items():
        place = tmp_path / f"{name}.json"
        bemi("subject", f"kind_{name}:{printed(name)}", "--export", str(place))
        text = place.read_text()
        assert "remark of ann" in text and "note of ann" in text and "of bob" not in text, name
        bemi("erase", f"kind_{name}:{printed(name)}", "--related", *REASON)
        left = logged(f"kind_{name}", f"of_{name}")
        assert "of ann" not in left and "remark of bob" in left and "note of bob" in left, name
        assert "/kinds/" in left and "/items/" in left, name
        if not kind.is_meaningless and len(kind.key) > 3:
            assert not any(form in left for key in (kind.key, kind.former) for form in forms(key)), (
                name,
                left,
            )
        history = Change.objects.filter(table=f"kind_{name}")
        assert history.filter(operation="ERASED").count() == len({kind.key, kind.former}), name
        (deleted,) = history.filter(operation="DELETE")
        assert history.filter(operation="ERASED", primary_key=deleted.primary_key).exists(), name
