"""The audit trail in Django's admin. It is read-only, except that changes can be reverted."""

from __future__ import annotations

from django.apps import apps
from django.contrib import admin

from bemi_django.admin import history_button
from bemi_django.admin.alert_rule_admin import AlertRuleAdmin
from bemi_django.admin.change_admin import ChangeAdmin
from bemi_django.admin.changes_inline import ChangesInline
from bemi_django.admin.history_button import HistoryMixin
from bemi_django.models import AlertRule, Change

__all__ = ["AlertRuleAdmin", "ChangeAdmin", "ChangesInline", "HistoryMixin"]

# Template tags and the API need these modules where no admin is installed.
if apps.is_installed("django.contrib.admin"):
    admin.site.register(Change, ChangeAdmin)
    admin.site.register(AlertRule, AlertRuleAdmin)
    history_button.install()
