"""Undo changes: plan first, then apply the plan in one transaction."""

from __future__ import annotations

from bemi_django.revert.apply import Changes, revert
from bemi_django.revert.plan import Conflict, OnConflict, Plan, Step

__all__ = ["Changes", "Conflict", "OnConflict", "Plan", "Step", "revert"]
