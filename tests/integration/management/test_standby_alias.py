"""An alias of DATABASES that is a standby: commands say so, instead of trying again."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from bemi_django.admin.pages.health.health_sources import source_facts
from bemi_django.checks import databases
from bemi_django.doctor import standbys
from tests.support.hot_standby import hot_standby
from tests.support.pipeline import Pipeline
from tests.support.project_database import execute


@pytest.mark.administrator
def test_commands_say_what_a_standby_is_and_what_it_lacks(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.stop()
    with hot_standby() as replica:
        for arguments in (["run"], ["run", "--until-current"], ["sync"], ["uninstall"], ["verify"]):
            with pytest.raises(CommandError, match="The server is a standby: its changes are recorded from"):
                call_command("bemi", *arguments, database=replica)
        (fact,), _ = source_facts(replica, None)
        assert fact.state == "good" and "from its primary" in fact.value
        with pytest.raises(CommandError, match="^the server is a standby: its changes are recorded from"):
            call_command("bemi", "status", database=replica, stdout=io.StringIO())
        (warning,) = databases.check_worker(replica)
        assert warning.id == "bemi.W011" and "is a standby" in warning.msg
        assert warning.hint == "Check the primary instead."
        # All that the doctor can say.
        with pytest.raises(CommandError, match="findings that stop recording: bemi.D001$"):
            call_command("bemi", "doctor", database=replica, stdout=io.StringIO())
        caplog.clear()
        call_command("migrate", database=replica, verbosity=0)
        assert "not tracked" not in caplog.text
        settings.BEMI_SLOT = "bemi_standby"
        judge_standby(replica, monkeypatch)


def judge_standby(replica: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Assert what the doctor says of the primary."""
    found = [finding.message for finding in standbys.findings("default")]
    ((version,),) = execute("SELECT current_setting('server_version_num')::int")
    if version >= 170000:
        assert "synchronized_standby_slots is empty" in found[0]
        assert f"The standby '{replica}' does not synchronise the slot: it lacks " in found[1]
        assert "sync_replication_slots = on, " in found[1] and "primary_slot_name" in found[1]
        return
    (message,) = found
    assert "may not have the slot bemi_" in message and "before PostgreSQL 17" in message
    # As if a cluster manager had copied it there.
    monkeypatch.setattr(standbys, "_HAS_SLOT", "SELECT count(*) FROM (VALUES (%s)) copied")
    assert list(standbys.findings("default")) == []
