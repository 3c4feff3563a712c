"""The sample project with a log whose name is in the environment, in a schema that is no part of its path."""

from __future__ import annotations

import os

from sample_project.settings import *  # noqa: F403

ALLOWED_HOSTS = ["testserver"]
if "LOG_NAME" in os.environ:
    BEMI_TABLE = os.environ["LOG_NAME"]
BEMI_SLOT = "bemi_named_log"
BEMI_INDEX_VALUES = True
# No worker runs beside the commands.
BEMI_AS_OF_PATIENCE = 0
BEMI_MASKED_FIELDS = ["todo.owner_id"]
