"""Names and limits that are used by default, with Django and without."""

from __future__ import annotations

from collections.abc import Iterable

PUBLICATION = "bemi"

#: The table of the log.
TABLE = "changes"

#: Bytes of the largest message that is kept whole as a dead letter.
LARGEST_DEAD_LETTER = 16 * 1024 * 1024

#: The greatest number of seconds between the signature of a context and the commit.
CONTEXT_AGE = 86_400

#: Patterns ``schema.table``, in which ``*`` and ``?`` are wildcards.
EXCLUDE = ("*.alembic_version", "*.django_migrations", "*.django_session")

#: Patterns of the tables in which Django keeps records about the work of others.
BOOKKEEPING = ("*.django_admin_log", "*.django_content_type", "*.django_session")


def all_excluded(include: Iterable[str], exclude: Iterable[str]) -> list[str]:
    """Return the patterns of all tables not to track: those of a project and the default ones.

    Args:
        include: Patterns ``schema.table`` of the tables to track. One that names the table of a default one,
            such as ``public.django_session``, overrides it.
        exclude: Patterns that the project adds.
    """
    named = {pattern.rpartition(".")[2] for pattern in include}
    return [*exclude, *(pattern for pattern in EXCLUDE if pattern.rpartition(".")[2] not in named)]
