"""Helpers for the tests of a project: which changes were recorded, and in which context it writes."""

from __future__ import annotations

from bemi_django.testing.changeable_log import changeable_log
from bemi_django.testing.expectations import assert_changes
from bemi_django.testing.mixin import ChangesMixin
from bemi_django.testing.recorded_changes import RecordedChanges
from bemi_django.testing.writes import CapturedWrite, captured_writes

__all__ = [
    "ChangesMixin",
    "RecordedChanges",
    "CapturedWrite",
    "assert_changes",
    "captured_writes",
    "changeable_log",
]
