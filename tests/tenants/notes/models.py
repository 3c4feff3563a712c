from __future__ import annotations

from typing import Any

from django.db import models

from bemi_django.log.history import History


class Note(models.Model):
    text = models.TextField()

    objects: models.Manager[Any] = models.Manager()
    history = History()

    def __str__(self) -> str:
        return self.text


class Tag(models.Model):
    note = models.ForeignKey(Note, models.CASCADE)
    name = models.TextField()

    def __str__(self) -> str:
        return self.name
