"""Optional parts: each module here is imported only by who has what it needs."""

from __future__ import annotations
