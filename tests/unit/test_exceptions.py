from __future__ import annotations

import pytest

from bemi_django import exceptions
from bemi_django.exceptions import BemiError

OURS = [
    error
    for error in vars(exceptions).values()
    if isinstance(error, type) and error.__module__ == exceptions.__name__
]


@pytest.mark.parametrize("error", OURS)
def test_an_error_is_ours_and_its_docstring_is_its_message(error: type[BemiError]) -> None:
    assert issubclass(error, BemiError)
    assert error.__doc__ and str(error()) == error.__doc__
    assert str(error("why")) == "why"


def test_the_module_draws_every_error() -> None:
    assert exceptions.__doc__ is not None
    assert [error.__name__ for error in OURS if error.__name__ not in exceptions.__doc__] == []
