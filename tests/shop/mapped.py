"""The shop's tables as mapped classes of SQLAlchemy."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Identity, String, Table
from sqlalchemy.orm import registry

_registry = registry()

category = Table(
    "shop_category",
    _registry.metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("name", String(100), unique=True, nullable=False),
)


class Category:
    def __init__(self, name: str) -> None:
        self.name: Any = name


_registry.map_imperatively(Category, category)
