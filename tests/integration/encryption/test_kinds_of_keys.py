"""Values are encrypted by keys of rows whose primary keys are of any type, and look like anything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bemi_django.mask_rules import configured_masks
from bemi_django.schema import tracking
from tests.integration.encryption.conftest import REASON, bemi, logged
from tests.support.key_kinds import KINDS, kinds_of_keys, printed, write_rows
from tests.support.pipeline import Pipeline


@pytest.fixture
def kinds(pipeline: Pipeline, settings: Any) -> Iterator[None]:
    settings.BEMI_MASK = {"kind_*.remark": "encrypt"} | {
        f"of_{name}.remark": {"encrypt": f"kind_{name}", "by": "key"} for name in KINDS
    }
    with kinds_of_keys():
        tracking.sync()
        pipeline.stop()
        pipeline.config = pipeline.config._replace(masking=configured_masks())
        yield


def test_a_key_of_any_type_has_a_key_that_encrypts(kinds: None, pipeline: Pipeline) -> None:
    for name in KINDS:
        write_rows(name)
    pipeline.advance()
    for name in KINDS:
        bemi("erase", f"kind_{name}:{printed(name)}", "--only-keys", *REASON)
        found = logged(pipeline, table__in=[f"kind_{name}", f"of_{name}"])
        values = [
            row["remark"] for change in found for row in (change.before, change.after) if "remark" in row
        ]
        assert all(value.startswith("encrypted:") for value in values), name
        plain = [
            row["remark"]
            for change in found
            for row in (change.decrypted().before, change.decrypted().after)
            if "remark" in row
        ]
        assert {value for value in plain if value is not None} == {"remark of bob", "note of bob"}, name
        assert None in plain
