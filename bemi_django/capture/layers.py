"""Layers of context: each adds values, some of which a function provides at the first write."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

from bemi_django.capture.functions import guarded

logger = logging.getLogger(__name__)

Provider = Callable[[], Mapping[str, Any]]

# A context with an id of its own keeps the id of the enclosing context under the second name.
_PARENTS = {"id": "parent_id", "request_id": "parent_request_id", "task_id": "parent_task_id"}


class Context(dict[str, Any]):
    """An immutable context in force. ``encoded`` caches its JSON."""

    __slots__ = ("encoded",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.encoded: str | None = None


class Skipping(int):
    """The value of ``SKIP_KEY`` in the context of ``skip_tracking()``, and of no other.

    Whoever chooses the keys of a context cannot keep rows out of the log.
    """


class Provisional(dict[str, Any]):
    """Values of a provider that is called again at the next write, since it could not find them all."""


class Layer:
    """Values on top of those of a parent layer.

    The provider is called at the first write. If one of its values is None, the parent's value is used
    and the provider is called again at the next write. ``defaults`` apply to keys that neither the parent nor
    this layer has.
    """

    __slots__ = (
        "_defaults",
        "_found",
        "_merged",
        "_parent",
        "_provider",
        "_values",
        "block",
        "outer",
        "outer_after_end",
    )

    def __init__(
        self,
        values: Mapping[str, Any],
        parent: Layer | None = None,
        provider: Provider | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        self._values = dict(values)
        self._parent = parent
        self._provider = provider
        self._defaults = defaults or {}
        self._merged: Context | None = None
        self._found: tuple[Context, Mapping[str, Any], Context] | None = None
        #: The layer of the block in which ``set_context()`` has set this one.
        self.block: Layer | None = None
        #: The layer in whose place this one came when its block began.
        self.outer: Layer | None = None
        #: The same, if the block has ended where that could not be put back.
        self.outer_after_end: Layer | None = None

    def resolve(self) -> Context:
        """Return the context for a write, and keep it for later writes unless some value is still unknown."""
        if self._merged is not None:
            return self._merged
        inherited = self._parent.resolve() if self._parent else _NOTHING
        provided = self._provided()
        if (settled := self._merged) is not None:
            # Another thread has settled it in the meantime, and dropped the provider.
            return settled
        found = self._found
        # Reuse the context of the last write if nothing is new, since its JSON is cached.
        if found is None or found[0] is not inherited or found[1] != provided:
            found = self._found = inherited, provided, Context(self._over(inherited, provided))
        merged = found[2]
        if self._is_final(provided):
            self._merged = merged
            self._provider = None
        return merged

    def peek(self) -> dict[str, Any]:
        """Return what a write would find now, without keeping it."""
        if self._merged is not None:
            return self._merged
        found = self._over(self._parent.peek() if self._parent else {}, self._provided())
        if (settled := self._merged) is not None:
            return settled
        return found

    def _is_final(self, provided: Mapping[str, Any]) -> bool:
        if self._parent is not None and self._parent._merged is None:
            return False
        # A login creates its session before it knows the user, so None is not final.
        if isinstance(provided, Provisional) or self in _asked.get():
            return False
        return all(value is not None for value in provided.values())

    def _over(self, inherited: Mapping[str, Any], provided: Mapping[str, Any]) -> dict[str, Any]:
        own = {key: provided[key] for key in provided if provided[key] is not None or key not in inherited}
        own.update(self._values)
        merged = {**self._defaults, **inherited, **own}
        for key, parent in _PARENTS.items() if inherited else ():
            outer = inherited.get(key)
            if outer is not None and merged[key] != outer and parent not in own:
                merged[parent] = outer
        return merged

    def _provided(self) -> Mapping[str, Any]:
        provider, asked = self._provider, _asked.get()
        # A provider that writes must not be called from its own write. Other threads and tasks of the same
        # request may call it: calling it twice is better than holding a lock while it runs.
        if provider is None or self in asked:
            return {}
        token = _asked.set((*asked, self))
        try:
            found = guarded(provider)
            return found if isinstance(found, Provisional) else dict(found)
        except Exception:
            # A change without a user is better than a write that fails because of the audit trail.
            logger.warning(
                "the context function failed; the write is recorded without its values", exc_info=True
            )
            return {}
        finally:
            _asked.reset(token)


# The layers whose providers are running in this thread or task.
_asked: ContextVar[tuple[Layer, ...]] = ContextVar("bemi_asked", default=())

_NOTHING = Context({})
