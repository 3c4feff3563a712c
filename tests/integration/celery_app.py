"""A Celery application as a Django project has one; its broker is a directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import django
from celery import Celery
from django.apps import apps

from bemi_django.integrations.celery import install

if not apps.ready:
    # The worker's process.
    django.setup()

from sample_project.todos.models import Todo

HOME = Path(os.environ.get("BEMI_TEST_CELERY", "."))

app = Celery(
    "tests.integration.celery_app",
    broker="filesystem://",
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
