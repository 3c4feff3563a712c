"""Use Django's models, connection and transaction with SQLAlchemy 2.

::

    from bemi_django.integrations.sqlalchemy import get_session, mapped

    Todo = mapped(models.Todo)
    with get_session() as session:
        session.scalars(select(Todo).where(Todo.id == 1)).one().task = "Buy milk"
        session.commit()
"""

from __future__ import annotations

import sqlalchemy

if sqlalchemy.__version__.startswith(("0.", "1.")):
    raise ImportError(
        f"bemi_django.integrations.sqlalchemy needs SQLAlchemy 2, but {sqlalchemy.__version__} is installed: "
        "run pip install 'sqlalchemy>=2', or use aldjemy (pip install 'bemi-django-wal[aldjemy]')"
    )

# Imported only after the version is checked.
from bemi_django.capture.hooks.sqlalchemy_engine import install, uninstall
from bemi_django.integrations.sqlalchemy.engine import get_engine
from bemi_django.integrations.sqlalchemy.mapping import mapped, models_of
from bemi_django.integrations.sqlalchemy.session import get_session

__all__ = ["get_engine", "get_session", "install", "mapped", "models_of", "uninstall"]
