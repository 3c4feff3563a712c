from __future__ import annotations

from django.conf import settings
from django.db import models

from bemi_django.log.history import History


class Tag(models.Model):
    name = models.CharField(max_length=50, unique=True)

    class Meta:
        db_table = "tag"
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Todo(models.Model):
    task = models.CharField(max_length=200)
    is_completed = models.BooleanField(default=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="todos",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    tags = models.ManyToManyField(Tag, blank=True, related_name="todos")

    history = History()

    class Meta:
        db_table = "todo"
        ordering = ("is_completed", "-created_at", "-id")

    def __str__(self) -> str:
        return self.task
