from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.torture_harness import Harness, open_directory


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> Iterator[Harness]:
    # Servers of our own: they are made to crash.
    for name in ("DATABASE_URL", "PGHOST", "PGHOSTADDR", "PGPORT", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)
    with open_directory() as directory:
        made = Harness(directory)
        try:
            made.start()
            yield made
        finally:
            made.close()
