"""Query the log with SQLAlchemy 1.4 or 2, with or without Django: a mapped ``Change``, and criteria for it.

::

    from bemi_django.integrations.sqlalchemy_changes import Change, by, field_changed, for_object

    session.scalars(select(Change).where(for_object(todo), field_changed("task"), by(7)).order_by(Change.id))

``order_by(Change.id)`` is the order of commits. Combine the criteria with SQLAlchemy's own:
``Change.committed_at >= monday``.
"""

from __future__ import annotations

from bemi_django.integrations.sqlalchemy_changes.criteria import (
    after,
    after_not,
    before,
    before_not,
    between,
    by,
    context,
    context_not,
    created,
    deleted,
    field_changed,
    for_model,
    for_object,
    for_table,
    in_request,
    in_transaction,
    outside,
    unverified,
    updated,
)
from bemi_django.integrations.sqlalchemy_changes.mapped_change import Change

__all__ = [
    "Change",
    "after",
    "after_not",
    "before",
    "before_not",
    "between",
    "by",
    "context",
    "context_not",
    "created",
    "deleted",
    "field_changed",
    "for_model",
    "for_object",
    "for_table",
    "in_request",
    "in_transaction",
    "outside",
    "unverified",
    "updated",
]
