"""The form of an alert rule: what is told to whom, and who may ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.saved_views.alert_address import alert_filter
from bemi_django.admin.saved_views.visible_views import VisibleViews
from bemi_django.admin.search.filter_form import FilterForm
from bemi_django.alerts import configured
from bemi_django.alerts.alarm import TOLD
from bemi_django.alerts.channels import recipients_of
from bemi_django.alerts.saved_filter import parameters_of
from bemi_django.alerts.webhook import AlertFailed, checked
from bemi_django.models import AlertRule

if TYPE_CHECKING:
    # The class is generic in the type stubs only.
    AlertRuleFormBase = forms.ModelForm[AlertRule]
else:
    AlertRuleFormBase = forms.ModelForm


class AlertRuleForm(AlertRuleFormBase):
    """A rule. ``viewer`` is who saves it, and is set by a subclass for each request."""

    viewer: Viewer

    saved_view = forms.ChoiceField(
        label=gettext_lazy("Saved view"),
        required=False,
        help_text=gettext_lazy("Its filters are copied, so the rule stays as it is when the view changes."),
    )
    handler = forms.ChoiceField(label=gettext_lazy("Function"), required=False)
    new_secret = forms.BooleanField(
        label=gettext_lazy("New secret"),
        required=False,
        help_text=gettext_lazy(
            "The secret of the webhook is shown once. The one before is not valid any more."
        ),
    )

    class Meta:
        model = AlertRule
        fields = (
            "name",
            "is_active",
            "kind",
            "threshold",
            "filter",
            "channel",
            "recipients",
            "url",
            "handler",
        )
        widgets = {"recipients": forms.Textarea({"rows": 3}), "filter": forms.Textarea({"rows": 3})}
        help_texts = {
            "threshold": gettext_lazy("How many rows a transaction may delete without an alert."),
            "filter": gettext_lazy("What the address of the filtered list has after the question mark."),
            "recipients": gettext_lazy("Mail addresses, one a line."),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "url" not in self.fields:
            # Who may only look gets no fields.
            return
        handler = self.fields["handler"]
        assert isinstance(handler, forms.ChoiceField)
        handler.choices = [("", "---------"), *((name, name) for name in configured.handlers())]
        given = parameters_of(str(self.initial.get("filter") or self.instance.filter))
        if given:
            address = f"{self.viewer.url('changelist')}?{given.urlencode()}"
            self.fields["filter"].help_text = format_html(
                '{} <a href="{}">{}</a>', self.fields["filter"].help_text, address, _("See what it matches")
            )
        self._views = VisibleViews(self.viewer)
        saved_view = self.fields["saved_view"]
        assert isinstance(saved_view, forms.ChoiceField)
        saved_view.choices = [("", "---------"), *((str(view.pk), view.name) for view in self._views.views)]
        # The path may hold a token, so it is not shown again.
        if self.instance.url:
            self.initial["url"] = ""
            self.fields["url"].help_text = _(
                "A URL of %(host)s is kept, and not shown again. Type another one to replace it."
            ) % {"host": checked_host(self.instance.url)}
        self.fields["url"].widget = forms.URLInput({"class": "vURLField", "autocomplete": "off"})

    def clean_url(self) -> str:
        """Return the URL that is sent to; nothing typed means the one before."""
        return str(self.cleaned_data["url"] or self.instance.url)

    def clean(self) -> dict[str, Any]:
        """Check what the kind and the channel need."""
        found = super().clean() or self.cleaned_data
        check = {
            AlertRule.Channel.MAIL: self._check_mail,
            AlertRule.Channel.WEBHOOK: self._check_webhook,
            AlertRule.Channel.HANDLER: self._check_handler,
        }.get(found.get("channel", ""))
        if check is not None:
            check(found)
        if found.get("kind") == AlertRule.Kind.FILTER:
            self._check_filter(found)
        elif self.viewer.is_scoped:
            # Only filters see what their owner sees.
            self.add_error("kind", _("You see a part of the log only: choose a filter."))
        return found

    def _check_mail(self, found: dict[str, Any]) -> None:
        addresses = recipients_of(AlertRule(recipients=found.get("recipients", "")))
        if not addresses:
            self.add_error("recipients", _("Name at least one address."))
        for address in addresses:
            try:
                validate_email(address)
            except ValidationError:
                self.add_error("recipients", _("“%(value)s” is not an address.") % {"value": address})

    def _check_webhook(self, found: dict[str, Any]) -> None:
        try:
            checked(found.get("url", ""))
        except AlertFailed as error:
            self.add_error("url", error.said)

    def _check_handler(self, found: dict[str, Any]) -> None:
        if not found.get("handler"):
            self.add_error("handler", _("Choose one of the functions in BEMI_ALERT_HANDLERS."))

    def _check_filter(self, found: dict[str, Any]) -> None:
        if found.get("saved_view"):
            view = self._views.find(int(found["saved_view"]))
            found["filter"] = alert_filter(view.query) if view else ""
        parameters = parameters_of(found.get("filter", ""))
        form = FilterForm(parameters, self.viewer)
        if not parameters:
            self.add_error("filter", _("A filter that leaves nothing out matches every change."))
        elif not form.is_valid():
            self.add_error("filter", [error for errors in form.errors.values() for error in errors])
        elif form.cleaned_data["operation"] not in ("", *TOLD):
            self.add_error("filter", _("Alerts do not tell of this operation. Choose another one."))
        found["filter"] = parameters.urlencode()


def checked_host(url: str) -> str:
    """Return the host of a URL, or what stands for it if nothing may be sent there any more."""
    try:
        return checked(url).hostname or "?"
    except AlertFailed:
        return "?"
