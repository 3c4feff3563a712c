"""The models of the audit trail: changes, dead letters, undelivered changes, alert rules, saved views."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from bemi_django.log.change import Change

__all__ = ["AlertRule", "Change", "DeadLetter", "SavedView", "Undelivered"]


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


class AlertRule(models.Model):
    """A rule by which people are told of changes. The worker evaluates it; see ``bemi_django.alerts``."""

    class Kind(models.TextChoices):
        """Of what people are told."""

        SUPERUSER = "superuser", _("a superuser was set")
        OUTSIDE = "outside", _("something was changed outside the application")
        DELETIONS = "deletions", _("more rows than the threshold were deleted in a transaction")
        FILTER = "filter", _("a change matches a filter of the list")

    class Channel(models.TextChoices):
        """How they are told."""

        MAIL = "mail", _("mail")
        WEBHOOK = "webhook", _("webhook")
        HANDLER = "handler", _("function of the project")

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(_("name"), max_length=200)
    is_active = models.BooleanField(pgettext_lazy("alert rule", "active"), default=True)
    kind = models.CharField(_("alert when"), max_length=20, choices=Kind.choices)
    threshold = models.PositiveIntegerField(_("threshold"), default=1000)
    filter = models.TextField(_("filter"), blank=True)
    #: The key of the user whose view of the log the filter has: who saved the rule last.
    owner = models.TextField(editable=False)
    channel = models.CharField(_("alert by"), max_length=20, choices=Channel.choices)
    recipients = models.TextField(_("recipients"), blank=True)
    url = models.TextField(_("URL"), blank=True)
    handler = models.CharField(_("function"), max_length=200, blank=True)
    #: From this and SECRET_KEY the secret of the webhook is derived, which is stored nowhere.
    salt = models.TextField(editable=False, default="")
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = '_bemi"."alert_rules'
        ordering = ["id"]
        verbose_name = _("alert rule")
        verbose_name_plural = _("alert rules")

    def __str__(self) -> str:
        return self.name


class SavedView(models.Model):
    """Filters of the list of changes under a name, of one user or for all who may see the log.

    What it shows is decided when it is opened, by what the user may see who opens it.
    """

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(_("name"), max_length=100)
    #: The key of the user who has saved it.
    owner = models.TextField(editable=False)
    #: The schema of the tenant in which it was saved; empty without tenants.
    tenant = models.TextField(editable=False, default="")
    #: The parameters of the list, with days relative to the present one; see ``admin.saved_views``.
    query = models.TextField(editable=False)
    is_shared = models.BooleanField(default=False)
    #: The keys of the users whose list begins with it.
    default_of = models.JSONField(editable=False, default=list)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = '_bemi"."saved_views'
        ordering = ["name", "id"]
        verbose_name = _("saved view")
        verbose_name_plural = _("saved views")
        default_permissions = ()
        permissions = [("share_savedview", _("Can share views of the list of changes"))]

    def __str__(self) -> str:
        return self.name
