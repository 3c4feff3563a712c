"""``bemi verify --chain --progress``: a verification that was interrupted is continued."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from bemi_django.exceptions import BemiError
from bemi_django.seals import verify
from bemi_django.seals.chain_links import ChainLinks
from bemi_django.seals.findings import ChainReport
from bemi_django.seals.verify import verify_chains
from tests.integration.seals.test_operations import WHO, drop_month
from tests.support.old_months import FIRST, SECOND
from tests.support.project_database import execute
from tests.support.sealed_log import write_sealed


@pytest.fixture
def tampered(old_log: None, monkeypatch: pytest.MonkeyPatch) -> ChainReport:
    """What a whole run finds: of two months one was dropped, and two changes of the other were changed."""
    write_sealed(FIRST, 10, begin=True)
    write_sealed(SECOND, 10, first=11)
    drop_month(FIRST)
    execute("UPDATE changes SET context = '{\"user_id\": 1}' WHERE position = 64 * 12")
    execute("DELETE FROM changes WHERE position = 64 * 18")
    # Each step takes two links, and is kept.
    monkeypatch.setattr(ChainLinks.read, "__defaults__", (2,))
    monkeypatch.setattr(verify, "SAVE_EVERY", 0)
    found = verify_chains()
    assert [one.kind for one in found.findings] == ["edited", "removed"]
    return found


def interrupted(path: Path, steps: int) -> None:
    left = steps

    def watch(chain: str, part: float) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify_chains(watch=watch, progress=str(path))


@pytest.mark.parametrize("steps", range(1, 8))
def test_what_was_found_before_and_after_is_what_a_whole_run_finds(
    tampered: ChainReport, tmp_path: Path, steps: int
) -> None:
    path = tmp_path / "progress"
    interrupted(path, steps)
    done = json.loads(path.read_text())["report"]["links"]
    assert 0 < done <= tampered.links
    seen = []
    assert verify_chains(watch=lambda chain, part: seen.append(part), progress=str(path)) == tampered
    assert not path.exists() and list(tmp_path.iterdir()) == []
    assert len(seen) == 8 - steps or steps >= 7


def test_what_was_done_meanwhile_counts(tampered: ChainReport, tmp_path: Path) -> None:
    path = tmp_path / "progress"
    interrupted(path, 2)
    drop_month(SECOND)
    report = verify_chains(progress=str(path))
    assert [one.kind for one in report.findings] == []
    assert WHO["os_user"] in report.operations[-1]


def test_the_command_says_how_to_continue(
    tampered: ChainReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "progress"
    with pytest.raises(CommandError, match="--progress belongs to --chain"):
        call_command("bemi", "verify", "--progress", str(path))
    with pytest.raises(CommandError, match="differ in 2 places"):
        call_command("bemi", "verify", "--chain", "--progress", str(path), stdout=io.StringIO())

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bemi_django.management.verify_command.verify_chains", interrupt)
    with pytest.raises(CommandError, match="interrupted: the same command continues"):
        call_command("bemi", "verify", "--chain", "--progress", str(path))
    with pytest.raises(CommandError, match="interrupted: --progress FILE makes it continue"):
        call_command("bemi", "verify", "--chain")


def test_a_file_of_another_log_or_none_at_all_is_refused(tampered: ChainReport, tmp_path: Path) -> None:
    path = tmp_path / "progress"
    interrupted(path, 2)
    kept = json.loads(path.read_text())
    path.write_text(json.dumps({**kept, "log": [1, "another", "log", "1"]}))
    with pytest.raises(BemiError, match="is not of this log"):
        verify_chains(progress=str(path))
    path.write_text("{")
    with pytest.raises(BemiError, match="cannot be read"):
        verify_chains(progress=str(path))
    with pytest.raises(BemiError, match="cannot write"):
        verify_chains(progress=str(tmp_path / "nowhere" / "progress"))
