"""Settings of a site with the views of ``request_views``."""

from __future__ import annotations

from tests.settings import *  # noqa: F403

ROOT_URLCONF = "tests.support.request_views"
BEMI_CONTEXT_FUNCTION = "tests.support.request_views.context_of"
