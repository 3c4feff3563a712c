"""Measurements of bemi_django and of what else there is; ``python -m bench`` runs them."""

from __future__ import annotations
