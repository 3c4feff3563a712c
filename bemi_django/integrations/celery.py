"""Carry the context from who publishes a Celery task to the worker that runs it.

In the module of your Celery app, on both sides: ``install()``. It needs no Django.
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
#: Characters; brokers limit what fits into the headers of a message.
_MAX_HEADER = 64 * 1024


def install() -> None:
    """Carry the context with every task; harmless when repeated.

    The task's context is that of its publisher, and beside it ``task``, ``task_id`` and ``retries``; a
    task that another one has published has its ``parent_task_id``. It ends with the task.
    """
    before_task_publish.connect(_on_publish, weak=False, dispatch_uid="bemi_django")
    task_prerun.connect(_on_start, weak=False, dispatch_uid="bemi_django")
    task_postrun.connect(_on_end, weak=False, dispatch_uid="bemi_django")


def _on_publish(headers: dict[str, Any], **_: Any) -> None:
    # A text: not every broker takes a nested object as a header.
    encoded = context_encoding.context_json(context.inheritable())
    if len(encoded) > _MAX_HEADER:
        logger.warning("a task has no context from its publisher: it is too large")
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
