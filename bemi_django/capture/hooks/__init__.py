"""Hooks on database connections and on management commands."""

from __future__ import annotations
