"""The settings of alerts. Each has a function that reads it whenever it is called."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

from django.conf import settings
from django.db import connections

from bemi_django.schema import tenancy
from bemi_django.setting_values import patterns


def are_on() -> bool:
    """Return ``BEMI_ALERTS``: whether the worker evaluates rules, and the admin has them.

    With django-tenants they never do: all tenants would share the rules, and the worker knows users of
    none of them.
    """
    is_on = bool(getattr(settings, "BEMI_ALERTS", False))
    return is_on and not any(tenancy.has_tenants(alias) for alias in connections)


def handlers() -> dict[str, str]:
    """Return ``BEMI_ALERT_HANDLERS``: dotted paths of functions that rules may call, by their names."""
    return dict(getattr(settings, "BEMI_ALERT_HANDLERS", {}))


def may_use_http() -> bool:
    """Return ``BEMI_WEBHOOK_HTTP``: whether webhooks may be sent unencrypted."""
    return bool(getattr(settings, "BEMI_WEBHOOK_HTTP", False))


def private_networks() -> list[IPv4Network | IPv6Network]:
    """Return ``BEMI_WEBHOOK_NETWORKS``: the networks that are not public and may be sent to.

    Raises:
        ImproperlyConfigured: It is no list of texts.
        ValueError: One of them is no network.
    """
    return [ip_network(text) for text in patterns("BEMI_WEBHOOK_NETWORKS")]


def site_url() -> str:
    """Return ``BEMI_SITE_URL``: with what links in alerts begin, such as ``https://shop.example``."""
    return str(getattr(settings, "BEMI_SITE_URL", "")).rstrip("/")
