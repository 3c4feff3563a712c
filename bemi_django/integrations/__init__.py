"""Integrations with optional packages. Import only those whose package is installed."""

from __future__ import annotations
