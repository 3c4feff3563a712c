"""Anchors are written outside of the database, and whatever fails there does not stop the worker."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import InterfaceError

from bemi_django.checks.seals import check_seals
from bemi_django.exceptions import BemiError
from bemi_django.seals import anchoring, anchors
from bemi_django.status.sealing import read_sealings
from tests.integration.seals.conftest import AnchorHook, whole
from tests.support.forger import forge
from tests.support.old_months import FIRST
from tests.support.polling import until
from tests.support.sealed_log import SLOT, write_sealed


@pytest.fixture
def sealed(old_log: None) -> None:
    write_sealed(FIRST, 4, begin=True)


def test_each_place_gets_what_it_has_not_got(sealed: None, tmp_path: Path, webhook: str) -> None:
    file, folder = tmp_path / "anchors.jsonl", tmp_path / "folder"
    writer = anchoring.AnchorWriter([str(file), webhook, folder.as_uri()])
    assert writer.write() and writer.write()
    (anchor,) = anchors.read(str(file))
    assert (anchor.chain, anchor.number) == (SLOT, 3)
    assert [json.loads(text)["hash"] for text in AnchorHook.posted] == [anchor.hash]
    (written,) = folder.iterdir()
    assert anchors.read(str(written)) == [anchor]
    write_sealed(FIRST, 2, first=11)
    assert writer.write()
    assert len(anchors.read(str(file))) == len(AnchorHook.posted) == len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("status", [500, 302, 303])
def test_a_place_that_fails_is_logged_without_secrets_and_tried_again(
    sealed: None, webhook: str, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    AnchorHook.status = status
    writer = anchoring.AnchorWriter([webhook, "/nowhere/anchors"])
    with caplog.at_level(logging.ERROR, "bemi_django"):
        assert not writer.write()
        assert not writer.write()
    assert len(AnchorHook.posted) == 2
    assert "No such file or directory" in caplog.text and "row-value" not in caplog.text


def test_the_worker_writes_anchors_beside_its_work(sealed: None, tmp_path: Path, settings: Any) -> None:
    file = tmp_path / "anchors.jsonl"
    settings.BEMI_TAMPER_EVIDENCE = True
    settings.BEMI_ANCHORS, settings.BEMI_ANCHOR_EVERY = str(file), 1
    with anchoring.anchoring():
        until(file.exists)
    assert anchors.read(str(file))
    file.unlink()
    with anchoring.anchoring(is_to_end=True):
        assert not file.exists()
    assert anchors.read(str(file))
    settings.BEMI_ANCHORS = []
    with anchoring.anchoring():
        pass
    settings.BEMI_ANCHORS = [7]
    with pytest.raises(BemiError, match="BEMI_ANCHORS"), anchoring.anchoring():
        pass


def test_a_connection_that_breaks_while_anchors_are_read_ends_nothing(
    sealed: None,
    tmp_path: Path,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With psycopg2, what is asked of a broken connection is an InterfaceError, which is no DatabaseError."""
    asked: list[str] = []

    def broken_at_first(alias: str) -> list[anchors.Anchor]:
        asked.append(alias)
        if len(asked) == 1:
            raise InterfaceError("row-value")
        return newest(alias)

    newest = anchors.newest
    monkeypatch.setattr(anchoring, "newest", broken_at_first)
    monkeypatch.setattr(anchoring, "_AGAIN", 0.01)
    file = tmp_path / "anchors.jsonl"
    settings.BEMI_TAMPER_EVIDENCE = True
    settings.BEMI_ANCHORS, settings.BEMI_ANCHOR_EVERY = str(file), 1
    with caplog.at_level(logging.ERROR, "bemi_django"), anchoring.anchoring():
        until(file.exists)
    assert "InterfaceError" in caplog.text and "row-value" not in caplog.text


def test_the_command_compares_anchors(
    sealed: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "anchors.jsonl"
    anchors.write(str(file), anchors.newest("default"))
    call_command("bemi", "verify", "--chain", "--anchor", str(file))
    assert "anchors: 1" in capsys.readouterr().out
    forge("UPDATE changes SET context = '{}' WHERE position = 64")
    whole()
    with pytest.raises(CommandError, match="differ in 1 places"):
        call_command("bemi", "verify", "--chain", "--anchor", str(file))
    assert "is not the one of the anchor of" in capsys.readouterr().out
    file.write_text("{}\n")
    with pytest.raises(CommandError, match="no anchors"):
        call_command("bemi", "verify", "--chain", "--anchor", str(file))
    with pytest.raises(CommandError, match="cannot read the anchors"):
        call_command("bemi", "verify", "--chain", "--anchor", str(tmp_path))
    with pytest.raises(CommandError, match="--anchor belongs to --chain"):
        call_command("bemi", "verify", "--anchor", str(file))
    with pytest.raises(CommandError, match="compares the whole log"):
        call_command("bemi", "verify", "--chain", "--accept")


def test_a_log_that_was_never_sealed_says_how_to_seal_it(old_log: None) -> None:
    assert read_sealings() == []
    with pytest.raises(CommandError, match="set BEMI_TAMPER_EVIDENCE to True"):
        call_command("bemi", "verify", "--chain")


def test_the_log_says_until_when_it_is_sealed(sealed: None) -> None:
    (sealing,) = read_sealings()
    assert (sealing.slot, sealing.is_open) == (SLOT, True)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"BEMI_TAMPER_EVIDENCE": "yes"}, "neither True nor False"),
        ({"BEMI_TAMPER_EVIDENCE": True, "BEMI_ANCHORS": {"a": 1}}, "not a list"),
        ({"BEMI_TAMPER_EVIDENCE": True, "BEMI_ANCHORS": [""]}, "empty address"),
        ({"BEMI_TAMPER_EVIDENCE": True, "BEMI_ANCHOR_EVERY": 0}, "from 1 to 1000000000"),
        ({"BEMI_TAMPER_EVIDENCE": True, "BEMI_ANCHOR_EVERY": True}, "from 1 to 1000000000"),
        ({"BEMI_ANCHORS": ["anchors"]}, "nothing is sealed"),
        ({"BEMI_TAMPER_EVIDENCE": True, "BEMI_ANCHORS": ["s3://bucket/folder"]}, ""),
        ({}, ""),
    ],
    ids=["switch", "no list", "empty", "too often", "no number", "unsealed", "right", "nothing"],
)
def test_wrong_settings_are_errors(settings: Any, given: dict[str, Any], words: str) -> None:
    for name, value in given.items():
        setattr(settings, name, value)
    found = check_seals()
    assert [message.id for message in found] == (["bemi.E023"] if words else [])
    assert all(words in message.msg for message in found)
