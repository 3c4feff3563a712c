"""A site whose admin gets its models when the URLs are imported."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from sample_project.todos.models import Todo

site = admin.AdminSite("late")
site.register(Todo)

urlpatterns = [path("admin/", admin.site.urls), path("late/", site.urls)]
