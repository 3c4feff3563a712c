"""The whole site as it was at a moment that a member of staff has chosen."""

from __future__ import annotations

from bemi_django.site_past.views_of_present import of_the_present

__all__ = ["of_the_present"]
