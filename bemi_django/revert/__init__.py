"""Undo changes: plan first, then apply the plan in one transaction."""

from __future__ import annotations

from bemi_django.revert.apply import Changes, revert
from bemi_django.revert.plan import Conflict, Effect, Forced, OnConflict, Plan, ReadOnly, Step

__all__ = ["Changes", "Conflict", "Effect", "Forced", "OnConflict", "Plan", "ReadOnly", "Step", "revert"]
