"""The questions of the API: each has a path, parameters and an answer. URLs and description follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bemi_django.admin.pages.history.timeline_form import TimelineForm
from bemi_django.admin.pages.reverts.revert_choices import MODES
from bemi_django.admin.search.filter_form import FilterForm
from bemi_django.api import log_answers, object_answers, plan_answers
from bemi_django.api.api_viewer import ApiViewer
from bemi_django.api.parameters import Given, Parameter, choice, identifier, moment, number, of_form, text


@dataclass(frozen=True)
class Operation:
    """A question.

    Attributes:
        name: Its name.
        path: Its path, with the names of parameters in braces.
        summary: What it asks for.
        answer: Returns the answer.
        schema: The name of the schema of the answer.
        parameters: Its parameters.
        statuses: The statuses of errors, beside those of all questions.
    """

    name: str
    path: str
    summary: str
    answer: Callable[[ApiViewer, Given], dict[str, Any]]
    schema: str
    parameters: tuple[Parameter, ...] = ()
    statuses: tuple[int, ...] = (404,)


#: The greatest number of changes on a page.
MOST = 100

_FILTERS = {
    "q": "Words as in the search of the admin: a key, an id, task:Sleep, reason=import.",
    "table": "The table of the model.",
    "user": "The name, e-mail address or key of a user.",
    "group": "The name of a group: changes by those who are in it at present.",
    "until": "The last day.",
    "since_time": "The time of day on the first day.",
    "until_time": "The last minute on the last day.",
    "related": "Empty: with its parts; own: only its own changes; all: with all rows that refer to it.",
}
PLACES = (
    identifier("older", "Only changes before this one."),
    identifier("newer", "Only changes after this one, in place of “older”."),
)
LIMIT = number("limit", "The number of changes on a page.", 1, MOST, 50)
TIMELINE = (*of_form(TimelineForm, _FILTERS), *PLACES, LIMIT)
_OBJECT = (
    text("app_label", "The label of the app.", is_in_path=True),
    text("model_name", "The name of the model.", is_in_path=True),
    text(
        "key", "The primary key, quoted as in the addresses of the admin (_2F is a slash).", is_in_path=True
    ),
)
_ID = identifier("id", "The id of a change.", is_in_path=True)
_WAYS = {
    "change": "The change to revert.",
    "transaction": "A change whose transaction is to be reverted.",
    "request": "A change whose request is to be reverted.",
    "since": "A change; those of the same object after it are to be reverted.",
    "undo": "A change whose revert is to be reverted.",
}

OPERATIONS = (
    Operation(
        "changes",
        "changes/",
        "List changes, the newest first",
        log_answers.changes,
        "Changes",
        (*of_form(FilterForm, _FILTERS), *PLACES, LIMIT),
        (),
    ),
    Operation("change", "changes/{id}/", "Read a change", log_answers.change, "Change", (_ID,)),
    Operation(
        "transaction",
        "changes/{id}/transaction/",
        "List the changes of a transaction, in their order",
        log_answers.transaction,
        "ChangesTogether",
        (_ID,),
    ),
    Operation(
        "request",
        "request/",
        "List the changes of a request, in their order",
        log_answers.request,
        "ChangesTogether",
        (text("id", "The id of the request.", is_required=True),),
        (404, 503),
    ),
    Operation(
        "history",
        "objects/{app_label}/{model_name}/{key}/",
        "List the changes of an object and of its parts, the newest first",
        object_answers.history,
        "History",
        (*_OBJECT, *TIMELINE),
    ),
    Operation(
        "fields",
        "objects/{app_label}/{model_name}/{key}/fields/",
        "Read the fields of an object, now with who set them, or at a moment",
        object_answers.fields,
        "Fields",
        (*_OBJECT, moment("at", "The moment; in the time zone of the site, unless it has an offset.")),
    ),
    Operation(
        "field",
        "objects/{app_label}/{model_name}/{key}/fields/{field}/",
        "List the values that a field had, the newest first",
        object_answers.field,
        "FieldHistory",
        (*_OBJECT, text("field", "The column of the field.", is_in_path=True), *PLACES),
    ),
    Operation(
        "plan",
        "revert/",
        "Read what a revert would do; nothing is written",
        plan_answers.plan,
        "Plan",
        (
            *(identifier(way, f"{_WAYS[way]} Exactly one of them is given.") for way in plan_answers.WAYS),
            choice("on_conflict", "How rows in conflict are treated.", MODES, default="stop"),
            text("field", "The columns to put back; without any, all.", is_list=True),
        ),
        (404, 409),
    ),
)
