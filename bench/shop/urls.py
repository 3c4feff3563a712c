"""The view that is measured, and one that sets synchronous_commit on its connection."""

from __future__ import annotations

from django.urls import path

from bench.shop import views

urlpatterns = [path("items/", views.three_writes), path("commit/<value>/", views.set_commit)]
