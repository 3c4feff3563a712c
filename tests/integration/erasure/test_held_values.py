"""What refers to an object is the same to Python and to PostgreSQL."""

from __future__ import annotations

import pytest
from django.db import connection

from bemi_django.erasure.targets import held_values
from bemi_django.log.lossless_json import dumps, loads

_VALUES = ["0", "-7", "100", "2.50", "0.00", f"{10**38 + 1}", f"{10**30}.{10**9}", "1E+3", "1e-9", "true"]
_CONTROL = dumps("".join(map(chr, [*range(1, 33), 47, 92, 127, 128, 0x2028, 0xFFFF])))


@pytest.mark.django_db
@pytest.mark.parametrize("text", [*_VALUES, '""', '"a\\"b;n1"', '"é😀"', _CONTROL])
def test_times_are_found_under_what_postgresql_makes_of_a_value(text: str) -> None:
    value = loads(text)
    with connection.cursor() as cursor:
        sql = held_values._KEY.format(value="%s::pg_catalog.jsonb")
        cursor.execute(f"SELECT {sql}", [dumps(value)] * held_values._KEY.count("{value}"))
        assert cursor.fetchone() == (held_values._key(value),)
