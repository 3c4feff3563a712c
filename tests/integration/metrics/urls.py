"""A site with metrics."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [path("bemi/", include("bemi_django.metrics.urls"))]
