"""Fixtures that every test may use."""

from __future__ import annotations

import gc
import logging
from collections.abc import Generator, Iterator

import pytest
from hypothesis import settings

from bemi_django import get_context, set_context

# No test fails because the machine is busy.
settings.register_profile("bemi", deadline=None)
settings.load_profile("bemi")
# asyncio warns of each callback that took longer than 0.1 s. What went wrong in one is an error.
logging.getLogger("asyncio").setLevel(logging.ERROR)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage among what is imported, then or later: it took a tenth of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


@pytest.fixture(autouse=True)
def no_context_left_behind() -> Iterator[None]:
    yield
    left = get_context()
    set_context({})
    assert left == {}, "the test left a context behind: use bound_context()"


@pytest.fixture(autouse=True)
def no_content_type_is_remembered() -> Iterator[None]:
    """Forget content types that a flush or a rollback removes: each test makes those that it needs."""
    from django.contrib.contenttypes.models import ContentType

    yield
    ContentType.objects.clear_cache()


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """Make each flush quick. Permissions and content types are made by the tests that need them."""
    from django.contrib.contenttypes.management import create_contenttypes
    from django.db.models.signals import post_migrate

    from tests.support import quick_flush

    quick_flush.install()
    assert post_migrate.disconnect(dispatch_uid="django.contrib.auth.management.create_permissions")
    assert post_migrate.disconnect(create_contenttypes)
