"""The application that all packages record: the same model, view and writes for each of them."""

from __future__ import annotations
