"""Ways to write the shop with SQLAlchemy, by a session of an engine and the module tests.shop.mapped."""

from __future__ import annotations

from typing import Any

from tests.support.stocked_shop import CATEGORY, ONE_OF_EACH, PRODUCT, Ways

_ways = Ways()
SQLALCHEMY = _ways.parameters


@_ways.changes((CATEGORY, "CREATE", 1))
def core_insert(session: Any, shop: Any) -> None:
    session.connection().execute(shop.category.insert().values(name="new"))


@_ways.changes((CATEGORY, "CREATE", 3))
def core_insert_many(session: Any, shop: Any) -> None:
    session.connection().execute(shop.category.insert(), [{"name": name} for name in "abc"])


@_ways.changes((CATEGORY, "UPDATE", 2))
def core_update(session: Any, shop: Any) -> None:
    chosen = shop.category.c.name.in_(["tools", "toys"])
    session.connection().execute(shop.category.update().where(chosen).values(name=shop.category.c.name + "!"))


@_ways.changes((CATEGORY, "DELETE", 1))
def core_delete(session: Any, shop: Any) -> None:
    session.connection().execute(shop.category.delete().where(shop.category.c.name == "books"))


@_ways.changes((PRODUCT, "UPDATE", 1))
def core_text(session: Any, shop: Any) -> None:
    from sqlalchemy import text

    session.connection().execute(
        text("UPDATE shop_product SET stock = :stock WHERE sku = 'anvil'"), {"stock": 5}
    )


@_ways.changes(*ONE_OF_EACH)
def session_flush(session: Any, shop: Any) -> None:
    session.add(shop.Category(name="new"))
    session.query(shop.Category).filter(shop.Category.name == "tools").one().name = "Tools"
    session.delete(session.query(shop.Category).filter(shop.Category.name == "books").one())
    session.flush()


@_ways.changes((CATEGORY, "CREATE", 5))
def session_flush_many(session: Any, shop: Any) -> None:
    session.add_all([shop.Category(name=f"new {number}") for number in range(5)])
    session.flush()
