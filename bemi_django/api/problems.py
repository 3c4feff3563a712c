"""An answer that is an error: a status, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.utils.translation import gettext as _


class ApiProblem(Exception):
    """A request that is not answered.

    Args:
        status: The status of the response.
        message: What happened, and what to do.
        parameters: What is wrong about parameters, by their names.
    """

    def __init__(
        self, status: int, message: str, parameters: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.parameters = dict(parameters or {})


def refused(parameters: Mapping[str, Sequence[str]]) -> ApiProblem:
    """Return the answer to a request whose parameters are not valid.

    Args:
        parameters: What is wrong, by the names of the parameters.
    """
    return ApiProblem(
        400, _("Some parameters are not valid. Correct what is named under “parameters”."), parameters
    )
