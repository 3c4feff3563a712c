"""A real worker, of two processes, on a real broker."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from celery.result import AsyncResult

from bemi_django import bound_context, get_context, skip_tracking
from bemi_django.models import Change
from tests.support.pipeline import Drain
from tests.support.polling import DEADLINE
from tests.support.processes import running


@pytest.fixture(scope="module")
def celery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The module of the application, which finds its broker in a variable."""
    home = tmp_path_factory.mktemp("celery")
    for name in ("messages", "control", "results"):
        (home / name).mkdir()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("BEMI_TEST_CELERY", str(home))
        from tests.support import celery_app

        yield celery_app
    celery_app.app.close()


@pytest.fixture(scope="module")
def worker(celery: Any, django_db_setup: None) -> Iterator[None]:
    application = ("-A", "tests.support.celery_app")
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "WARNING")
    with running("celery", *application, "worker", "-c", "1", *quiet):
        yield


def wait(result: Any) -> Any:
    return result.get(timeout=DEADLINE, interval=0.02, propagate=False)


def contexts(changes: list[Change]) -> dict[str, dict[str, Any]]:
    """By the task that was written, without the statement."""
    return {
        change.after["task"]: {key: value for key, value in change.context.items() if key != "SQL"}
        for change in changes
    }


def test_the_context_travels_from_the_publisher_to_the_worker(
    drain: Drain, celery: Any, worker: None
) -> None:
    with bound_context(request_id="r", user_id=7, at=date(2024, 1, 2)), skip_tracking(reason="import"):
        first = celery.write_and_publish.delay("a")
        again = celery.write_at_the_second_try.delay("again")
        failing = celery.fail.delay("fails")
    alone = celery.write.delay("alone")
    second = AsyncResult(wait(first), app=celery.app)
    for result in (again, failing, alone, second):
        wait(result)

    found = contexts(drain())
    handed = {"request_id": "r", "user_id": 7, "at": "2024-01-02", "reason": "import"}
    name = "tests.support.celery_app"
    publishing = {**handed, "task": f"{name}.write_and_publish", "task_id": first.id, "retries": 0}
    retried = {**handed, "task": f"{name}.write_at_the_second_try", "task_id": again.id}
    assert found == {
        "a": publishing,
        "a, published": {
            **handed,
            "task": f"{name}.write",
            "task_id": second.id,
            "parent_task_id": first.id,
            "retries": 0,
        },
        "again 0": {**retried, "retries": 0},
        "again 1": {**retried, "retries": 1},
        "fails": {**handed, "task": f"{name}.fail", "task_id": failing.id, "retries": 0},
        "alone": {"task": f"{name}.write", "task_id": alone.id, "retries": 0},
    }


def test_an_eager_task_is_part_of_who_calls_it(drain: Drain, celery: Any) -> None:
    with bound_context(request_id="r"):
        result = celery.write.apply(["eager"])
        failed = celery.fail.apply(["fails"])
        assert get_context() == {"request_id": "r"}
    name = "tests.support.celery_app"
    assert contexts(drain()) == {
        "eager": {"request_id": "r", "task": f"{name}.write", "task_id": result.id, "retries": 0},
        "fails": {"request_id": "r", "task": f"{name}.fail", "task_id": failed.id, "retries": 0},
    }


def test_a_context_that_no_broker_takes_is_left_out(
    celery: Any, worker: None, drain: Drain, caplog: pytest.LogCaptureFixture
) -> None:
    with bound_context(text="x" * 70_000):
        wait(celery.write.delay("large"))
    assert "too large" in caplog.text
    assert "text" not in contexts(drain())["large"]
