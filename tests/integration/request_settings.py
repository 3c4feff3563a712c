"""Settings of a site with the views of ``request_views``."""

from __future__ import annotations

from tests.settings import *  # noqa: F403

ROOT_URLCONF = "tests.integration.request_views"
BEMI_CONTEXT_FUNCTION = "tests.integration.request_views.context_of"
