"""The audit view shows that values were erased, and where."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from bemi_django.models import Change
from tests.integration.erasure.conftest import Bemi
from tests.shop.models import Category
from tests.support.pipeline import Drain


@pytest.fixture
def viewer(drain: Drain) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def page(viewer: Client, url: str) -> str:
    response = viewer.get(url)
    assert response.status_code == 200
    return response.content.decode()


def test_an_erasure_and_what_is_left_are_shown(viewer: Client, bemi: Bemi, drain: Drain) -> None:
    Category.objects.create(name="Books of Ann")
    Category.objects.update(name="Novels of Ann")
    Category.objects.all().delete()
    drain()
    category = Category(pk=Change.objects.created().get(table="shop_category").primary_key)
    bemi("erase", f"shop.Category:{category.pk}", "--reason", "request 7", "--noinput")
    created, updated, deleted = Change.objects.for_object(category).exclude(operation="ERASED")
    record = Change.objects.get(operation="ERASED")
    listed = page(viewer, reverse("admin:bemi_django_change_changelist"))
    assert "ERASED" in listed and "of Ann" not in listed
    assert "ERASED" in page(viewer, f"{reverse('admin:bemi_django_change_changelist')}?operation=ERASED")
    for change in (created, updated, deleted):
        text = page(viewer, reverse("admin:bemi_django_change_change", args=[change.pk]))
        assert "of Ann" not in text and "not known" in text
        # The name is still one of the fields that the change has set.
        assert re.search(r"\bname\b", text)
    assert "request 7" in page(viewer, reverse("admin:bemi_django_change_change", args=[record.pk]))
