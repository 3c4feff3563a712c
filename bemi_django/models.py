"""The models of the audit trail: changes, dead letters and undelivered changes."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from bemi_django.log.change import Change

__all__ = ["Change", "DeadLetter", "Undelivered"]


class DeadLetter(models.Model):
    """A message of the stream that could not be stored as it is.

    ``change_id`` refers to the change that holds what could be stored of it.
    """

    id = models.BigAutoField(primary_key=True)
    slot = models.TextField()
    position = models.BigIntegerField()
    change_id = models.UUIDField(null=True)
    message = models.BinaryField()
    origin = models.JSONField()
    reason = models.TextField()
    created_at = models.DateTimeField()

    class Meta:
        # Django quotes the whole: "_bemi"."dead_letters".
        db_table = '_bemi"."dead_letters'
        ordering = ["id"]
        verbose_name = _("dead letter")
        verbose_name_plural = _("dead letters")
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.reason} ({self.change_id})"


class Undelivered(models.Model):
    """A change that a handler failed on too often; it was set aside so that later changes are handled."""

    id = models.BigAutoField(primary_key=True)
    handler = models.TextField()
    change_id = models.UUIDField()
    attempts = models.IntegerField()
    reason = models.TextField()
    created_at = models.DateTimeField()

    class Meta:
        db_table = '_bemi"."undelivered'
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.handler}: {self.change_id}"
