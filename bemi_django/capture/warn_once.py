"""Warnings that would repeat with every write."""

from __future__ import annotations

import logging
from functools import lru_cache

logger = logging.getLogger(__name__)


@lru_cache(maxsize=64)
def warn_once(message: str) -> None:
    """Log a warning, unless the same one was logged recently.

    Args:
        message: The warning.
    """
    logger.warning("%s", message)
