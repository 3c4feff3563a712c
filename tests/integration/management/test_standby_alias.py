"""An alias of DATABASES that is a standby: commands say so, instead of trying again."""

from __future__ import annotations

import io

import pytest
from django.core.management import CommandError, call_command

from tests.support.hot_standby import hot_standby
from tests.support.pipeline import Pipeline


@pytest.mark.administrator
def test_a_standby_is_told_at_once_what_it_is(pipeline: Pipeline, caplog: pytest.LogCaptureFixture) -> None:
    pipeline.stop()
    with hot_standby() as replica:
        for arguments in (["run"], ["run", "--until-current"], ["sync"], ["uninstall"]):
            with pytest.raises(CommandError, match="The server is a standby: its changes are recorded from"):
                call_command("bemi", *arguments, database=replica)
        # All that the doctor can say.
        with pytest.raises(CommandError, match="findings that stop recording: bemi.D001$"):
            call_command("bemi", "doctor", database=replica, stdout=io.StringIO())
        caplog.clear()
        call_command("migrate", database=replica, verbosity=0)
        assert "not tracked" not in caplog.text
