"""A log with encrypted values."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command

from bemi_django.mask_rules import configured_masks
from bemi_django.models import Change
from tests.support.pipeline import Pipeline

KEY = "a key of the tests, of 16 bytes"
RULES = {
    "auth_user.email": "encrypt",
    "auth_user.first_name": "encrypt",
    "shop_review.text": {"encrypt": "shop_product", "by": "product_id"},
}
REASON = ("--reason", "request 7", "--noinput")


@pytest.fixture
def pipeline(transactional_db: None, settings: Any) -> Iterator[Pipeline]:
    """A worker that stays connected and encrypts by RULES."""
    settings.BEMI_MASK, settings.BEMI_ENCRYPTION_KEY = RULES, KEY
    made = Pipeline.of_project("bemi_test")
    made.config = made.config._replace(masking=configured_masks())
    made.advance()
    yield made
    made.stop()
    made.drop()


def logged(pipeline: Pipeline, **conditions: Any) -> list[Change]:
    """Let the worker come to the present, and return changes."""
    pipeline.advance()
    return list(Change.objects.filter(**conditions))


def bemi(*arguments: str) -> str:
    out = io.StringIO()
    call_command("bemi", *arguments, stdout=out, no_color=True)
    return out.getvalue()
