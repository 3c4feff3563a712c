"""A Celery application of a Django project; its broker is a directory."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import django
from celery import Celery
from django.apps import apps
from kombu.transport import filesystem

from bemi_django.integrations.celery import install

if not apps.ready:
    # In the process of the worker.
    django.setup()

from sample_project.todos.models import Todo

HOME = Path(os.environ.get("BEMI_TEST_CELERY", "."))


class Channel(filesystem.Channel):
    def _put(self, *message: Any, **options: Any) -> None:
        """Rename a message's file when it is complete: kombu's worker also reads incomplete ones."""
        queue, payload = message
        name = f"{time.monotonic_ns():020d}_{uuid4()}"
        unseen = Path(self.data_folder_out, f"{name}.part")
        unseen.write_text(json.dumps(payload))
        unseen.rename(unseen.with_name(f"{name}.{queue}.msg"))


class Transport(filesystem.Transport):
    Channel = Channel


app = Celery(
    "tests.support.celery_app",
    broker_transport=f"{__name__}:{Transport.__name__}",
    backend=f"file://{HOME}/results",
    broker_transport_options={
        "data_folder_in": f"{HOME}/messages",
        "data_folder_out": f"{HOME}/messages",
        "control_folder": f"{HOME}/control",
        "polling_interval": 0.02,
    },
    broker_connection_retry_on_startup=False,
)
install()
install()


@app.task
def write(task: str) -> None:
    Todo.objects.create(task=task)


@app.task
def write_and_publish(task: str) -> str:
    Todo.objects.create(task=task)
    return str(write.delay(f"{task}, published").id)


@app.task(bind=True, max_retries=1)
def write_at_the_second_try(self: Any, task: str) -> None:
    Todo.objects.create(task=f"{task} {self.request.retries}")
    if not self.request.retries:
        raise self.retry(countdown=0)


@app.task
def fail(task: str) -> None:
    Todo.objects.create(task=task)
    raise ValueError(task)
