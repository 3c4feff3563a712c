"""What administrators change with psql, past the application."""

from __future__ import annotations

from contextlib import closing
from random import Random

import psycopg2

from bemi_django import conf

_STATEMENTS = (
    "UPDATE store_product SET price = round(price * 1.02, 2) WHERE category_id = {category}",
    "UPDATE store_order SET status = 'cancelled' "
    "WHERE id = (SELECT id FROM store_order ORDER BY placed_at LIMIT 1)",
    "UPDATE store_customer SET remarks = 'merged with another customer' "
    "WHERE id = (SELECT min(id) FROM store_customer WHERE remarks = '')",
)
_SUPERUSER = "UPDATE auth_user SET is_superuser = true WHERE username = 'war.otto'"


class ByHand:
    def __init__(self, random: Random) -> None:
        self._random = random

    def repair(self) -> None:
        """Run one of the statements that were meant to be an exception."""
        _psql(self._random.choice(_STATEMENTS).format(category=self._random.randint(1, 10)))

    def make_superuser(self) -> None:
        _psql(_SUPERUSER)


def _psql(statement: str) -> None:
    parameters = conf.connection_parameters("default") | {"application_name": "psql"}
    with closing(psycopg2.connect(**parameters)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)
