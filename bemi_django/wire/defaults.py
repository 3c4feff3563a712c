"""Tables that are tracked by default, with Django and without."""

from __future__ import annotations

PUBLICATION = "bemi"

#: Patterns ``schema.table``, in which ``*`` and ``?`` are wildcards.
INCLUDE = ("public.*",)
EXCLUDE = ("*.alembic_version", "*.changes", "*.django_migrations", "*.django_session")
