"""URLs of metrics and health probes: ``path("bemi/", include("bemi_django.metrics.urls"))``."""

from __future__ import annotations

from django.urls import path

from bemi_django.metrics import views

app_name = "bemi_metrics"
urlpatterns = [
    path("metrics", views.metrics, name="metrics"),
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
]
