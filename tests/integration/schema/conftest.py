"""Roles with no more rights than they need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.separate_roles import SLOT, separate_roles


@pytest.fixture
def roles(transactional_db: None, settings: Any) -> Iterator[dict[str, dict[str, Any]]]:
    """Connection parameters of the roles, in a database of the first one, as Django's role is now."""
    settings.BEMI_SLOT = SLOT
    with separate_roles() as made:
        yield made
