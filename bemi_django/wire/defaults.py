"""What is tracked unless somebody says otherwise, with Django and without."""

from __future__ import annotations

PUBLICATION = "bemi"

#: Patterns ``schema.table``, with ``*`` and ``?``.
INCLUDE = ("public.*",)
EXCLUDE = ("*.alembic_version", "*.changes", "*.django_migrations", "*.django_session")
