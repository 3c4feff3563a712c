"""A sealed log that is attacked between all that the package does to it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.core.management import call_command

from bemi_django import conf
from bemi_django.seals import anchors
from bemi_django.seals.anchoring import AnchorWriter
from bemi_django.seals.verify import verify_chains
from tests.support.old_months import FIRST, SECOND
from tests.support.pipeline import Pipeline
from tests.support.project_database import execute
from tests.support.sealed_log import write_sealed
from tests.support.superuser import Superuser

REASON = ("--reason", "request 7", "--no-input")
#: Makes JSON of a value, or fails.
HIDE = "CREATE OR REPLACE FUNCTION hide(secret) RETURNS json LANGUAGE sql IMMUTABLE AS $$SELECT {}$$"


class AttackedLog:
    """Two chains: that of a worker, and one with changes of two old months, and of two sources.

    Args:
        pipeline: The worker, which seals.
        places: Where its anchors are written.
        archive: The directory of the archive.
    """

    def __init__(self, pipeline: Pipeline, places: list[str], archive: Path) -> None:
        self._pipeline = pipeline
        self._anchors = AnchorWriter(places)
        self._archive = str(archive)

    def stages(self, settings: Any) -> Iterator[str]:
        """Do one thing after the other, and yield after each what it was."""
        write_sealed(FIRST, 8, begin=True)
        write_sealed(SECOND, 8, first=11)
        write_sealed(SECOND, 4, first=31, begin=True, server="2")
        ann = User.objects.create(username="ann", email="ann@example.org", last_name="Miller")
        User.objects.create(username="bob", email="bob@example.org")
        execute(HIDE.format("('{{' || $1)::json"))
        execute("INSERT INTO safe VALUES (1, 'x'), (2, 'y')")
        self._pipeline.run()
        yield "write"
        key = ann.pk
        ann.delete()
        self._pipeline.run()
        assert "auth_user: 2 changes" in self._bemi("erase", f"auth.User:{key}", *REASON)
        yield "erase"
        execute(HIDE.format("to_json($1::text)"))
        said = self._bemi("retry-dead-letters")
        assert "2 repaired" in said, said
        yield "retry"
        assert "archived" in self._bemi("archive", "--before", "2003-07", "--to", self._archive)
        yield "archive"
        self._bemi("import", SECOND, "--from", self._archive)
        self._bemi("import", FIRST, "--from", self._archive)
        yield "import"
        settings.BEMI_RETENTION = {"default": "forever", "public.sealed": "1 year"}
        self._bemi("prune")
        settings.BEMI_RETENTION = {}
        yield "prune"
        User.objects.filter(username="bob").delete()
        self._pipeline.run()
        yield "write again"

    def attack(self, seed: int, attacks: int, forgeries: int, settings: Any) -> tuple[int, int]:
        """Attack after each stage, and write anchors.

        Args:
            seed: What the attacks are drawn with.
            attacks: How many there are after each stage.
            forgeries: How many of those there are who make the chain again.
            settings: The settings of the test.

        Returns:
            How many forgeries the anchors of the stage before told of, and how many not.
        """
        told = untold = 0
        with closing(Superuser(conf.connection_parameters("default"), seed)) as superuser:
            kept: list[anchors.Anchor] = []
            for stage in self.stages(settings):
                assert [*map(str, verify_chains(kept).findings)] == [], stage
                for _ in range(attacks):
                    superuser.attack()
                for _ in range(forgeries):
                    if superuser.forge(kept):
                        told += 1
                    else:
                        untold += 1
                assert self._anchors.write()
                kept = anchors.newest("default")
        return told, untold

    @staticmethod
    def _bemi(*arguments: str) -> str:
        out = io.StringIO()
        call_command("bemi", *arguments, stdout=out)
        return out.getvalue()
