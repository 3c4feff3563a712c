"""Carry the context of a Celery task's publisher to the worker that runs it.

Call ``install()`` in the module of your Celery app, which both sides import. Django is not needed.
"""

from __future__ import annotations

import json
import logging
from contextlib import ExitStack
from typing import Any

from celery.signals import before_task_publish, task_postrun, task_prerun

from bemi_django.capture import context, context_encoding

logger = logging.getLogger(__name__)

_HEADER = "bemi_context"
_ENTERED = "_bemi_entered"
#: In characters. Brokers limit the size of a message's headers.
_MAX_HEADER = 64 * 1024


def install() -> None:
    """Carry the context with every task.

    A task has the context of its publisher and its own ``task``, ``task_id`` and ``retries``. A task
    published by another task has a ``parent_task_id`` too. The context ends with the task. Calling this
    again has no effect.
    """
    before_task_publish.connect(_on_publish, weak=False, dispatch_uid="bemi_django")
    task_prerun.connect(_on_start, weak=False, dispatch_uid="bemi_django")
    task_postrun.connect(_on_end, weak=False, dispatch_uid="bemi_django")


def _on_publish(headers: dict[str, Any], **_: Any) -> None:
    # Sent as text, since some brokers do not accept nested objects in headers.
    encoded = context_encoding.context_json(context.inheritable())
    if len(encoded) > _MAX_HEADER:
        logger.warning("the context of a task's publisher is too large; the task is published without it")
        return
    headers[_HEADER] = encoded


def _on_start(task: Any, task_id: str, **_: Any) -> None:
    published = json.loads(getattr(task.request, _HEADER, None) or "{}")
    own = {"task": task.name, "task_id": task_id, "retries": task.request.retries}
    entered = ExitStack()
    entered.enter_context(context.bound_context(**published))
    entered.enter_context(context.bound_context(**own))
    setattr(task.request, _ENTERED, entered)


def _on_end(task: Any, **_: Any) -> None:
    entered: ExitStack | None = getattr(task.request, _ENTERED, None)
    if entered is not None:
        entered.close()
