"""Long names are broken between their words."""

from __future__ import annotations

import pytest

from bemi_django.admin.display.values.break_points import breakable


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("dana", "dana"),
        ("shop.tasks.cancel_unpaid", "shop.<wbr>tasks.<wbr>cancel_<wbr>unpaid"),
        ("POST /shop/<id>/pay/", "POST /<wbr>shop/<wbr>&lt;id&gt;/<wbr>pay/"),
        ("dana@example.com", "dana@<wbr>example.<wbr>com"),
        ("a//b", "a//<wbr>b"),
        ("", ""),
    ],
)
def test_a_name_may_be_broken_after_its_signs(name: str, text: str) -> None:
    assert breakable(name) == text
