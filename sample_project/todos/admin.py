from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin

from sample_project.todos.models import Tag, Todo

if TYPE_CHECKING:
    # Only the type stubs make these classes generic.
    TagAdminBase = admin.ModelAdmin[Tag]
    TodoAdminBase = admin.ModelAdmin[Todo]
else:
    TagAdminBase = TodoAdminBase = admin.ModelAdmin


@admin.register(Tag)
class TagAdmin(TagAdminBase):
    search_fields = ("name",)


@admin.register(Todo)
class TodoAdmin(TodoAdminBase):
    list_display = ("task", "is_completed", "owner", "created_at")
    list_filter = ("is_completed",)
    list_select_related = ("owner",)
    search_fields = ("task",)
    autocomplete_fields = ("tags",)
