"""Tell people: by mail, by a webhook, or by a function of the project."""

from __future__ import annotations

from typing import Any

from django.core.mail import EmailMessage
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from bemi_django.alerts import configured, webhook
from bemi_django.alerts.webhook import AlertFailed
from bemi_django.models import AlertRule


def send(rule: AlertRule, notice: dict[str, Any]) -> str:
    """Send a notice by the channel of its rule; return what came back, for people.

    Raises:
        AlertFailed: It was not sent, or not accepted.
    """
    if rule.channel == AlertRule.Channel.WEBHOOK:
        answer = webhook.post(rule, notice)
        return _("The server answered %(status)d: %(text)s") % answer._asdict()
    if rule.channel == AlertRule.Channel.MAIL:
        return _mail(rule, notice)
    return _call(rule, notice)


def recipients_of(rule: AlertRule) -> list[str]:
    """Return the addresses of a rule, which has them by lines, commas or blanks."""
    return rule.recipients.replace(",", " ").split()


def _mail(rule: AlertRule, notice: dict[str, Any]) -> str:
    # A header is one line.
    subject = " ".join((_("Alert: %(name)s") % {"name": rule.name}).split())
    message = EmailMessage(subject, notice["text"], to=recipients_of(rule))
    try:
        sent = message.send()
    except Exception as error:
        # Whatever a mail backend raises; its text may have addresses.
        raise AlertFailed(
            gettext_noop("the mail was not sent: %(error)s"), error=type(error).__name__
        ) from None
    if not sent:
        raise AlertFailed(gettext_noop("the mail was not sent: there are no recipients"))
    return _("The mail was sent.")


def _call(rule: AlertRule, notice: dict[str, Any]) -> str:
    path = configured.handlers().get(rule.handler)
    if path is None:
        raise AlertFailed(
            gettext_noop("BEMI_ALERT_HANDLERS has no function %(name)s"), name=repr(rule.handler)
        )
    import_string(path)(notice)
    return _("The function was called.")
