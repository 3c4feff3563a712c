"""A file with the outcome of each test, one line of JSON for each."""

from __future__ import annotations

import json
import os


def write(test: str, outcome: str) -> None:
    """Append the outcome of a test: passed, failed or skipped."""
    with open(os.environ["FOREIGN_OUTCOMES"], "a") as file:
        file.write(json.dumps([test, outcome]) + "\n")
