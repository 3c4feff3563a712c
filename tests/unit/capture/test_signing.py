"""Where an application finds the key with which it signs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bemi_django.capture import signing
from bemi_django.capture.comment import context_comment
from bemi_django.capture.warn_once import warn_once
from bemi_django.masking.settings import keys_of
from bemi_django.wire.signature import COMMENT_FORM, signature

KEY = "0123456789abcdef"


@pytest.fixture(autouse=True)
def without_django(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(signing, "_read_keys", signing._keys_of_environment)
    monkeypatch.setattr(signing, "_keys", None)
    monkeypatch.delenv("BEMI_CONTEXT_KEYS", raising=False)
    monkeypatch.chdir(tmp_path)
    warn_once.cache_clear()


def test_the_environment_or_the_project_file_has_the_keys(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert not signing.is_signing()
    (tmp_path / "pyproject.toml").write_text(f'[tool.bemi]\ncontext_keys = ["{KEY}", "{KEY}x"]')
    signing.use(signing._keys_of_environment)
    comment = context_comment("x", {"a": 1})
    found = json.loads(comment[7:-8])["_bemi_signature"]
    seconds = int(found.partition(".")[0])
    signed = b'{"a": 1,"SQL": "x"'
    assert found == signature(KEY.encode(), COMMENT_FORM, signed, seconds)
    monkeypatch.setenv("BEMI_CONTEXT_KEYS", f"{KEY}y, {KEY}")
    signing.use(signing._keys_of_environment)
    comment = context_comment("x", {"a": 1})
    seconds = int(json.loads(comment[7:-8])["_bemi_signature"].partition(".")[0])
    assert signature(f"{KEY}y".encode(), COMMENT_FORM, signed, seconds) in comment
    assert context_comment("x", {}) == '/*Bemi {"SQL": "x"} Bemi*/ '


@pytest.mark.parametrize("given", ["tooshort", f"{KEY},tooshort"])
def test_a_wrong_key_signs_nothing_and_is_reported_once_without_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, given: str
) -> None:
    monkeypatch.setenv("BEMI_CONTEXT_KEYS", given)
    for _ in range(2):
        assert context_comment("x", {"a": 1}) == '/*Bemi {"a": 1,"SQL": "x"} Bemi*/ '
    (record,) = caplog.records
    assert "BEMI_CONTEXT_KEYS is too short" in record.getMessage() and "tooshort" not in caplog.text


@pytest.mark.parametrize(
    ("value", "keys"),
    [
        (None, ()),
        ([], ()),
        (KEY, (KEY.encode(),)),
        (lambda: KEY, (KEY.encode(),)),
        ((KEY.encode(), lambda: KEY * 2), (KEY.encode(), KEY.encode() * 2)),
    ],
)
def test_keys_are_one_or_a_list(value: Any, keys: tuple[bytes, ...]) -> None:
    assert keys_of(value) == keys
