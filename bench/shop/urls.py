"""One view."""

from __future__ import annotations

from django.urls import path

from bench.shop import views

urlpatterns = [path("items/", views.three_writes)]
