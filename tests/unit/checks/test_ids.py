"""Each system check has an id of its own, which the package lists."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

from bemi_django import checks
from bemi_django.checks.masks import check_masks
from tests.support.paths import ROOT

ID = re.compile(r"bemi\.[EW]\d{3}")


def test_each_id_is_listed_and_belongs_to_one_module() -> None:
    homes = defaultdict(set)
    for module in (ROOT / "bemi_django/checks").glob("[!_]*.py"):
        for found in re.findall(rf'"({ID.pattern})"', module.read_text()):
            homes[found].add(module.name)
    listed = re.findall(rf"^({ID.pattern})  ", checks.__doc__ or "", re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert sorted(homes) == sorted(listed)
    assert {name: modules for name, modules in homes.items() if len(modules) > 1} == {}


def test_wrong_rules_of_masks_are_errors(settings: Any) -> None:
    settings.BEMI_MASK = {"shop_customer.phone": "shred"}
    settings.BEMI_MASKED_FIELDS = ["a.b.c.d"]
    assert [found.id for found in check_masks()] == ["bemi.E021", "bemi.E022"]
    settings.BEMI_MASK = {"shop_customer.phone": "hash"}
    assert [found.id for found in check_masks()] == ["bemi.E021", "bemi.E022"]
    settings.BEMI_MASK_KEY = "0123456789abcdef0123456789abcdef"
    settings.BEMI_MASKED_FIELDS = ["shop_customer.phone"]
    assert check_masks() == []
