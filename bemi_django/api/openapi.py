"""The description of the API: OpenAPI 3.1, made of its operations."""

from __future__ import annotations

from typing import Any

from bemi_django.api.operations import OPERATIONS, Operation
from bemi_django.api.schemas import components

_STATUSES = {
    400: "Parameters are not valid; the answer says which, and what to give instead.",
    401: "Nobody is logged in.",
    403: "The user may not view this.",
    404: "There is no such thing, or the user may not see it.",
    405: "Only GET and HEAD are answered.",
    409: "There is no such plan; the answer says why.",
    503: "The answer takes too long to find.",
}


def description(root: str) -> dict[str, Any]:
    """Return the description.

    Args:
        root: The path under which the project has included the URLs.
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Audit trail",
            "version": "1",
            "description": "Answers follow the permissions, the scope and the masks of the admin.",
        },
        "servers": [{"url": root}],
        "paths": {f"/{one.path}": {"get": _operation(one)} for one in OPERATIONS},
        "components": {
            "schemas": components(),
            "responses": {str(status): _problem(text) for status, text in _STATUSES.items()},
        },
    }


def _problem(text: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _operation(operation: Operation) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{operation.schema}"}
    responses: dict[str, Any] = {
        "200": {"description": operation.summary, "content": {"application/json": {"schema": schema}}}
    }
    for status in sorted({400, 401, 403, 405, *operation.statuses}):
        responses[str(status)] = {"$ref": f"#/components/responses/{status}"}
    return {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": [parameter.described() for parameter in operation.parameters],
        "responses": responses,
    }
