"""Django's management command ``bemi``."""

from __future__ import annotations
