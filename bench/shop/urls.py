"""The view that is measured, and the one that says how its connection commits."""

from __future__ import annotations

from django.urls import path

from bench.shop import views

urlpatterns = [path("items/", views.three_writes), path("commit/<value>/", views.set_commit)]
