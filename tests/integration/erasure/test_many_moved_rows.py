"""Many related rows that came to somebody else: what they had before is found without asking for each."""

from __future__ import annotations

from django.db import connection
from django.test.utils import CaptureQueriesContext

from bemi_django.erasure.objects import targets_of_instance
from bemi_django.erasure.related.dependents import Dependents
from bemi_django.models import Change
from tests.integration.erasure.conftest import Bemi
from tests.shop.models import Category
from tests.support.pipeline import Drain
from tests.support.project_database import execute

_WRITTEN = """
INSERT INTO shop_product (sku, category_id, price, stock)
    SELECT %(owner)s || n, %(ann)s, 1, 1 FROM generate_series(1, %(rows)s) n;
INSERT INTO shop_review (product_id, text) SELECT id, 'of ann' FROM shop_product WHERE category_id = %(ann)s;
UPDATE shop_product SET category_id = %(bob)s WHERE category_id = %(ann)s;
UPDATE shop_review r SET text = 'of bob' FROM shop_product p WHERE p.id = product_id AND category_id = %(bob)s
"""


def test_statements_do_not_grow_with_the_rows(bemi: Bemi, drain: Drain) -> None:
    numbers, bob = [], Category.objects.create(name="Bob")
    for rows in (10, 30):
        ann = Category.objects.create(name=f"Ann {rows}")
        with connection.cursor() as cursor:
            cursor.execute(_WRITTEN, {"owner": f"sku {rows} ", "ann": ann.pk, "bob": bob.pk, "rows": rows})
        drain()
        with CaptureQueriesContext(connection) as statements:
            Dependents("default", ["shop_review"]).with_related(targets_of_instance(ann, "default"), ann)
        numbers.append(len(statements))
        execute("DELETE FROM shop_review; DELETE FROM shop_product")
        drain()
    assert numbers[1] <= numbers[0]
    reviews = Change.objects.filter(table="shop_review").values_list("before", "after")
    before = str(list(reviews))
    bemi("erase", f"shop.Category:{ann.pk}", "--related", "shop_review", "--reason", "r", "--no-input")
    left = str(list(reviews.all()))
    assert before.count("of ann") == 80 and before.count("of bob") == 80
    # What a row was when it came to somebody is theirs.
    assert left.count("of ann") == 20 + 30 and left.count("of bob") == 80
