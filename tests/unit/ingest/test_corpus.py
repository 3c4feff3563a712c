"""Replay the inputs that the fuzzer of the intake has kept: ``tests/fuzz/intake.py``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.intake import take_all

INPUTS = [bytes.fromhex(line) for line in Path(__file__).with_name("corpus.txt").read_text().split()]


@pytest.mark.parametrize("part", range(4))
def test_an_intake_goes_on_after_each_input_of_the_corpus(part: int) -> None:
    assert len(INPUTS) > 100
    for data in INPUTS[part::4]:
        take_all(data)
