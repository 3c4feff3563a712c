"""The context that is in force while a foreign suite runs with the package."""

from __future__ import annotations

import os

IS_OURS = bool(os.environ["FOREIGN_OURS"])
CONTEXT = {
    "user_id": 7,
    "*/ DROP TABLE x; /*": "%s %(x)s :name $1 ? ' \" \\ $$ Bemi*/ /*Bemi {}",
    "nul": "\0é\ud800",
    "deep": {"list": [None, True, 1e300, "日本"]},
}


def enter_context() -> None:
    """Set the context for the rest of the process, if the package is installed in this run."""
    if IS_OURS:
        from bemi_django import set_context

        set_context(CONTEXT)
