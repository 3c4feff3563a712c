"""Label rows by their models' ``__str__``, without masked values and with few queries.

``__str__`` may print masked values, or anything computed from them, also of related rows. So it is called
on copies in which masked values are replaced. The relations that it follows are observed, fetched for all
rows at once, and replaced by such copies as well. A label whose ``__str__`` still reads a table with masked
columns is not used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from django.db import (
    DEFAULT_DB_ALIAS,
    DatabaseError,
    InterfaceError,
    OperationalError,
    connections,
    models,
)
from django.db.models import prefetch_related_objects

from bemi_django.admin.access.masks import MASK
from bemi_django.admin.access.rows.guarded_queries import guarded
from bemi_django.admin.access.rows.readable_parts import readable_parts
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.values.turned_text import in_order
from bemi_django.log.keys import key_fields, key_of

#: How far ``__str__`` is followed from relation to relation.
_DEPTH = 4
#: The number of characters of a label.
_LONGEST = 200


def instance_labels(instances: Sequence[models.Model], viewer: Viewer) -> list[str]:
    """Return labels of rows of one model; a row without one is labelled by its model and key."""
    texts = instance_texts(instances, viewer)
    return [text or key_label(instance, viewer) for text, instance in zip(texts, instances, strict=True)]


def instance_texts(instances: Sequence[models.Model], viewer: Viewer) -> Sequence[str | None]:
    """Return what ``__str__`` calls rows of one model; None where it is not defined, fails or is not safe."""
    if not instances or type(instances[0]).__str__ is models.Model.__str__:
        return [None] * len(instances)
    found: dict[int, str | None] = {}
    # Rows without their values have some that cannot be read.
    bare = [instance for instance in instances if instance.get_deferred_fields()]
    whole = [instance for instance in instances if not instance.get_deferred_fields()]
    for some in (whole, bare):
        for part, texts in readable_parts(some, partial(_guarded_texts, viewer)) if some else ():
            found |= zip(map(id, part), texts or [None] * len(part), strict=True)
    return [found[id(instance)] for instance in instances]


def _guarded_texts(viewer: Viewer, instances: Sequence[models.Model]) -> Sequence[str | None] | None:
    """Return labels of rows, or None if one of them, or of the rows that it refers to, cannot be read."""
    try:
        with guarded(instances[0]._state.db or DEFAULT_DB_ALIAS):
            return _texts(instances, viewer)
    except InterfaceError:
        raise
    except OperationalError:
        # What takes too long, or a server that is away, is no fault of a row.
        return [None] * len(instances)
    except Exception:
        # The values of related rows may be those that Python or a field of the project cannot read.
        return None


def key_label(instance: models.Model, viewer: Viewer) -> str:
    """Return the name of a row's model and the row's key, or the mask."""
    return f"{instance._meta.verbose_name} {instance_key(instance, viewer)}"


def instance_key(instance: models.Model, viewer: Viewer) -> str:
    """Return the primary key of a row, or the mask."""
    if viewer.masks.hide_model_key(type(instance)):
        return MASK
    key = key_of(instance)
    for field in key_fields(type(instance)):
        viewer.lifted.field(type(instance), str(field.column), key)
    return key


def masked_copy(instance: models.Model, viewer: Viewer) -> models.Model | None:
    """Return a copy of a row and its loaded relations without masked values, or None if that fails."""
    hidden = viewer.masks.hidden_fields(type(instance))
    fields = [field for field in instance._meta.concrete_fields if field.attname in instance.__dict__]
    values = [_masked(instance.__dict__[field.attname], field.column in hidden) for field in fields]
    try:
        copy = type(instance).from_db(instance._state.db, [field.attname for field in fields], values)
    except Exception:
        # A model or a receiver of post_init may expect anything of its values.
        return None
    for name, related in _loaded(instance, viewer):
        copy._state.fields_cache[name] = masked_copy(related, viewer)
    return copy


def _masked(value: Any, is_hidden: bool) -> Any:
    return MASK if is_hidden and value is not None else value


def _texts(instances: Sequence[models.Model], viewer: Viewer) -> Sequence[str | None]:
    texts: list[str | None] = []
    known: set[str] = set()
    copies = [masked_copy(instance, viewer) for instance in instances]
    for number, instance in enumerate(instances):
        found, text = _text(copies[number], viewer)
        if not found <= known:
            known |= found
            copies[number:] = _with_relations([instance, *instances[number + 1 :]], known, viewer)
            found, text = _text(copies[number], viewer)
        texts.append(text)
    return texts


def _with_relations(
    instances: Sequence[models.Model], paths: set[str], viewer: Viewer
) -> list[models.Model | None]:
    """Return copies of rows whose relations are loaded and masked."""
    copies = [masked_copy(instance, viewer) for instance in instances]
    prefetch_related_objects([copy for copy in copies if copy is not None], *sorted(paths))
    return [copy and masked_copy(copy, viewer) for copy in copies] if viewer.masks else copies


def _text(copy: models.Model | None, viewer: Viewer) -> tuple[set[str], str | None]:
    """Return the relations that ``__str__`` has loaded, and its text if that is safe."""
    if copy is None:
        return set(), None
    statements: list[str] = []
    text = None
    try:
        with _recorded(statements):
            text = str(copy)
    except DatabaseError:
        raise
    except Exception:
        # Models may expect anything of their values, and of rows that are deleted.
        pass
    found = set(_paths(copy, viewer))
    if not text or any(map(viewer.masks.mentions_hidden_table, statements)):
        return found, None
    viewer.lifted.label(copy, text, _LONGEST)
    return found, _cut(text)


def _cut(text: str) -> str:
    return in_order(f"{text[:_LONGEST]}…" if len(text) > _LONGEST else text)


@contextmanager
def _recorded(statements: list[str]) -> Iterator[None]:
    def record(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        statements.append(str(sql))
        return execute(sql, params, many, context)

    with ExitStack() as stack:
        for connection in connections.all(initialized_only=True):
            stack.enter_context(connection.execute_wrapper(record))
        yield


def _paths(instance: models.Model, viewer: Viewer, prefix: str = "", depth: int = 1) -> Iterator[str]:
    """Yield the relations that are loaded, as ``prefetch_related_objects()`` names them."""
    for name, related in _loaded(instance, viewer):
        yield f"{prefix}{name}"
        if depth < _DEPTH:
            yield from _paths(related, viewer, f"{prefix}{name}__", depth + 1)


def _loaded(instance: models.Model, viewer: Viewer) -> Iterator[tuple[str, models.Model]]:
    """Yield the related rows that are loaded, but not by a foreign key that is masked itself."""
    hidden = viewer.masks.hidden_fields(type(instance))
    fields: list[Any] = [*instance._meta.concrete_fields, *instance._meta.private_fields]
    for field in fields:
        related = instance._state.fields_cache.get(field.name)
        if isinstance(related, models.Model) and hidden.isdisjoint(_columns(field)):
            yield field.name, related


def _columns(field: Any) -> list[str]:
    """Return the columns by which a foreign key, or a generic one, finds a row."""
    if not hasattr(field, "fk_field"):
        return [str(field.column)]
    return [field.model._meta.get_field(name).column for name in (field.ct_field, field.fk_field)]
