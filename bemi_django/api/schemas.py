"""What answers consist of, as JSON schemas. Those of changes follow the fields of the model."""

from __future__ import annotations

from typing import Any

from bemi_django.models import Change

Schema = dict[str, Any]


def nullable(schema: Schema) -> Schema:
    """Return the schema of a value that may also be null."""
    return {"anyOf": [schema, {"type": "null"}]}


def fields(**properties: Schema) -> Schema:
    """Return the schema of an object that has all of these properties and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": sorted(properties),
        "additionalProperties": False,
    }


def listed(schema: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": schema}


def _named(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
ROW: Schema = {"type": "object"}
ID: Schema = {"type": "string", "format": "uuid"}
MOMENT: Schema = {"type": "string", "format": "date-time"}
#: Anything that JSON has.
VALUE: Schema = {}
_TYPES = {
    "UUIDField": ID,
    "DateTimeField": MOMENT,
    "BigIntegerField": {"type": "integer"},
    "BooleanField": FLAG,
    "TextField": TEXT,
    "JSONField": ROW,
}


def _change() -> dict[str, Schema]:
    found = {}
    for field in Change._meta.concrete_fields:
        schema = _TYPES[field.get_internal_type()]
        found[field.name] = nullable(schema) if field.null else schema
    return {**found, "changed": listed(TEXT), "actor": _named("Actor")}


_SET_BY = {
    "change": nullable(ID),
    "changed_at": nullable(MOMENT),
    "actor": nullable(_named("Actor")),
}
_PLACES = {"older": nullable(TEXT), "newer": nullable(TEXT), "is_partial": FLAG}


def components() -> dict[str, Schema]:
    """Return the schemas of all answers by name."""
    return {
        "Actor": fields(label=TEXT, is_person=FLAG, is_visitor=FLAG, is_outside=FLAG, is_unverified=FLAG),
        "Change": fields(**_change()),
        "Changes": fields(results=listed(_named("Change")), **_PLACES),
        "ChangesTogether": fields(context=ROW, results=listed(_named("Change")), is_cut=FLAG),
        "Object": fields(model=TEXT, key=TEXT, label=TEXT, is_deleted=FLAG),
        "History": fields(
            object=_named("Object"),
            results=listed(fields(**_change(), is_own=FLAG)),
            is_whole=FLAG,
            complete_from=nullable(MOMENT),
            **_PLACES,
        ),
        "Fields": fields(
            object=_named("Object"),
            at=nullable(MOMENT),
            existed=FLAG,
            results=listed(fields(name=TEXT, label=TEXT, value=VALUE, is_pending=FLAG, **_SET_BY)),
        ),
        "FieldHistory": fields(
            object=_named("Object"),
            field=fields(name=TEXT, label=TEXT, is_masked=FLAG),
            results=listed(
                fields(value=VALUE, is_unknown=FLAG, is_deleted=FLAG, reason=nullable(TEXT), **_SET_BY)
            ),
            **_PLACES,
        ),
        "Plan": fields(
            label=TEXT, digest=TEXT, is_allowed=FLAG, has_conflicts=FLAG, steps=listed(_named("PlanStep"))
        ),
        "PlanStep": fields(
            schema=TEXT,
            table=TEXT,
            primary_key=nullable(TEXT),
            action={"enum": ["insert", "update", "delete", "nothing"]},
            values=listed(fields(column=TEXT, label=TEXT, now=VALUE, becomes=VALUE)),
            conflict=nullable(fields(kind=TEXT, text=TEXT, is_forcible=FLAG)),
            consequences=listed(TEXT),
            is_allowed=FLAG,
            changes=listed(ID),
        ),
        "Problem": fields(
            error=fields(
                status={"type": "integer"},
                message=TEXT,
                parameters={"type": "object", "additionalProperties": listed(TEXT)},
            )
        ),
    }
