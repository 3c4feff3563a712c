"""Benchmarks of bemi_django and of its alternatives; ``python -m bench`` runs them."""

from __future__ import annotations
