"""The rules of alerts in the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.cache import add_never_cache_headers
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from bemi_django.admin.access.kept_tables import ALERT_RULES, may_keep
from bemi_django.admin.access.own_events import note
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.alert_rule_form import AlertRuleForm, checked_host
from bemi_django.admin.display.values.text_lists import comma_list
from bemi_django.alerts import configured
from bemi_django.alerts.channels import recipients_of, send
from bemi_django.alerts.notice import sample_of
from bemi_django.alerts.saved_filter import problem_of
from bemi_django.alerts.webhook import AlertFailed, new_salt, secret_of
from bemi_django.models import AlertRule

if TYPE_CHECKING:
    # The class is generic in the type stubs only.
    AlertRuleAdminBase = admin.ModelAdmin[AlertRule]
else:
    AlertRuleAdminBase = admin.ModelAdmin


class AlertRuleAdmin(AlertRuleAdminBase):
    """The admin of the rules, if ``BEMI_ALERTS`` is on. Whoever makes rules has to be able to see the log."""

    form = AlertRuleForm
    list_display = ("name", "kind", "told", "is_active", "problem")
    readonly_fields = ("told",)
    # One of this name for the app would be the list of changes.
    change_list_template = "admin/bemi_django/alert_rules.html"
    change_form_template = "admin/bemi_django/alert_rule.html"
    fieldsets = (
        (None, {"fields": ("name", "is_active")}),
        (gettext_lazy("When"), {"fields": ("kind", "threshold", "saved_view", "filter")}),
        (gettext_lazy("How"), {"fields": ("channel", "recipients", "url", "new_secret", "handler")}),
    )
    bemi_history = None

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fields: to who may only look, the URL of a webhook is not shown."""
        if obj is None or self.has_change_permission(request, obj):
            return self.fieldsets
        return [(None, {"fields": ("name", "is_active", "kind", "threshold", "filter", "channel", "told")})]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Return the form for the user of the request."""
        form = super().get_form(request, obj, change=change, **kwargs)
        return type("AlertRuleForm", (form,), {"viewer": Viewer(request, self.admin_site)})

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Return whether there are rules at all, and the user may do something with them."""
        return self._has_rules(request) and super().has_module_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may add rules."""
        return self._may(request) and super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: AlertRule | None = None) -> bool:
        """Return whether the user may change a rule."""
        return self._may(request) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: AlertRule | None = None) -> bool:
        """Return whether the user may delete a rule."""
        return self._has_rules(request) and super().has_delete_permission(request, obj)

    def has_view_permission(self, request: HttpRequest, obj: AlertRule | None = None) -> bool:
        """Return whether the user may see a rule."""
        return self._has_rules(request) and super().has_view_permission(request, obj)

    def _may(self, request: HttpRequest) -> bool:
        return self._has_rules(request) and Viewer(request, self.admin_site).has("view")

    @staticmethod
    def _has_rules(request: HttpRequest) -> bool:
        """Return whether there are rules, and the database lets the pages keep them."""
        if not hasattr(request, "bemi_has_rules"):
            has_rules = configured.are_on() and may_keep(ALERT_RULES)
            request.bemi_has_rules = has_rules  # type: ignore[attr-defined]
        return bool(request.bemi_has_rules)  # type: ignore[attr-defined]

    def get_urls(self) -> list[URLPattern]:
        """Return the URLs of the pages."""
        test = path(
            "<path:object_id>/test/",
            self.admin_site.admin_view(self.test_view),
            name="bemi_django_alertrule_test",
        )
        return [test, *super().get_urls()]

    @admin.display(description=gettext_lazy("alert by"))
    def told(self, rule: AlertRule) -> str:
        """Return who is told, without what only the receiver should know."""
        if rule.channel == AlertRule.Channel.MAIL:
            return comma_list(recipients_of(rule))
        return checked_host(rule.url) if rule.channel == AlertRule.Channel.WEBHOOK else rule.handler

    @admin.display(description=gettext_lazy("problem"))
    def problem(self, rule: AlertRule) -> str:
        """Return why a rule finds nothing."""
        return problem_of(rule) if rule.kind == AlertRule.Kind.FILTER else ""

    def save_model(self, request: HttpRequest, obj: AlertRule, form: Any, change: bool) -> None:
        """Save a rule: its filter finds from now on what this user would find."""
        obj.owner = str(request.user.pk)
        is_webhook = obj.channel == AlertRule.Channel.WEBHOOK
        if is_webhook and (not obj.salt or form.cleaned_data["new_secret"]):
            obj.salt = new_salt()
            request.bemi_has_secret = True  # type: ignore[attr-defined]
        super().save_model(request, obj, form, change)
        self._note("changed" if change else "added", obj)

    def delete_model(self, request: HttpRequest, obj: AlertRule) -> None:
        """Delete a rule."""
        self._note("deleted", obj)
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        """Delete rules."""
        for rule in queryset:
            self._note("deleted", rule)
        super().delete_queryset(request, queryset)

    def response_add(self, request: HttpRequest, obj: AlertRule, *args: Any, **kwargs: Any) -> HttpResponse:
        """Show a new secret once, or lead to where one wants to go."""
        return self._secret(request, obj) or super().response_add(request, obj, *args, **kwargs)

    def response_change(self, request: HttpRequest, obj: AlertRule) -> HttpResponse:
        """Show a new secret once, or lead to where one wants to go."""
        return self._secret(request, obj) or super().response_change(request, obj)

    def test_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Send a sample by the channel of a rule, as it is saved, and say what came back."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        rule = self.get_object(request, unquote(object_id))
        if rule is None or not self.has_change_permission(request, rule):
            raise PermissionDenied
        try:
            messages.success(request, send(rule, sample_of(rule)))
        except AlertFailed as error:
            messages.error(request, error.said)
        # A function of the project may fail in any way.
        except Exception as error:
            messages.error(request, _("The function failed: %(error)s") % {"error": type(error).__name__})
        self._note("tested", rule)
        return HttpResponseRedirect(self._url("change", rule.pk))

    def _secret(self, request: HttpRequest, rule: AlertRule) -> HttpResponse | None:
        if not getattr(request, "bemi_has_secret", False):
            return None
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("The secret of the webhook"),
            "rule": rule,
            "secret": secret_of(rule),
            "address": self._url("change", rule.pk),
        }
        response = TemplateResponse(request, "admin/bemi_django/alert_secret.html", context)
        add_never_cache_headers(response)
        return response

    def _url(self, page: str, *args: object) -> str:
        name = f"admin:bemi_django_alertrule_{page}"
        return reverse(name, args=args, current_app=self.admin_site.name)

    @staticmethod
    def _note(action: str, rule: AlertRule) -> None:
        note("alert_rule", rule=rule.pk, name=rule.name, action=action)
