"""Settings of the shop in the browser tests: scripts and styles come only from files of the site."""

from __future__ import annotations

from sample_project.store.settings import *  # noqa: F403
from sample_project.store.settings import MIDDLEWARE

MIDDLEWARE = ["tests.support.strict_policy.strict_policy", *MIDDLEWARE]
# The language of the browser.
MIDDLEWARE.insert(
    MIDDLEWARE.index("django.middleware.common.CommonMiddleware"), "django.middleware.locale.LocaleMiddleware"
)
