from __future__ import annotations

from types import SimpleNamespace

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


class DriverError(Exception):
    """An error as psycopg2 (``pgcode``) or psycopg 3 (``sqlstate``) raises it."""

    def __init__(self, **attributes: str | None) -> None:
        super().__init__("first\n  second")
        vars(self).update(attributes)


def wrapped(error: Exception) -> Exception:
    outer = Exception("outer")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    ("error", "sqlstate"),
    [
        (DriverError(pgcode="23505"), "23505"),
        (DriverError(sqlstate="23505"), "23505"),
        (wrapped(DriverError(pgcode="55P03")), "55P03"),
        (DriverError(pgcode=None), ""),
        (ValueError(), ""),
    ],
)
def test_the_sqlstate_of_an_error(error: Exception, sqlstate: str) -> None:
    assert exceptions.sqlstate_of(error) == sqlstate


@pytest.mark.parametrize(
    ("sqlstate", "is_away"),
    [(None, True), ("08006", True), ("57P01", True), ("57014", False), ("53100", False)],
)
def test_a_server_that_cannot_be_reached_is_away(sqlstate: str | None, is_away: bool) -> None:
    assert exceptions.is_away(DriverError(sqlstate=sqlstate)) is is_away


def test_only_the_first_line_of_a_message_is_logged() -> None:
    assert exceptions.first_line(DriverError()) == "first"
    assert exceptions.first_line(ValueError()) == "ValueError"


def test_a_message_is_logged_without_its_severity_in_the_language_of_the_server() -> None:
    error = ValueError("ERREUR:  droit refus\u00e9\n")
    error.__cause__ = DriverError()
    error.__cause__.diag = SimpleNamespace(severity="ERREUR")  # type: ignore[attr-defined]
    assert exceptions.first_line(error) == "droit refus\u00e9"


def test_a_log_without_a_slot_says_what_to_run() -> None:
    assert "the replication slot s is gone: run 'manage.py bemi run" in str(
        exceptions.LogBehind.without_slot("s")
    )


class Backend:
    alias = "replica"

    def get_connection_params(self) -> dict[str, str]:
        raise LookupError("token=opensesame")


def test_a_backend_that_cannot_compute_parameters_is_named_without_its_words() -> None:
    with pytest.raises(LookupError) as raised:
        Backend().get_connection_params()
    found = str(exceptions.of_parameters(raised.value))
    assert "the connection parameters of replica" in found and "LookupError in get_connection_params" in found
    assert "opensesame" not in found
    assert exceptions.of_parameters(LookupError()) is None
