"""Where a project keeps the keys of subjects, if not in the database of the log."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, Protocol

from bemi_django.encryption.subject_key import KEY_BYTES
from bemi_django.exceptions import BemiError, KeyStoreUnavailable

#: Seconds for which a store may think.
PATIENCE = 10.0
#: Seconds for which a key is used before the store is asked for it again, and keys that are remembered.
LIFETIME, REMEMBERED = 60.0, 4096
#: Calls that may hang at the same time, and seconds between one and the next.
MOST_HANGING, PAUSE = 4, 60.0
_SHORTEST = 32
_PURPOSE = b"bemi_django key of a store "


class KeyStore(Protocol):
    """A store of keys by their ids, UUIDs as texts. Any exception means that it cannot be reached."""

    def create(self, number: str) -> bytes:
        """Make and keep a random key of at least 32 bytes, and return it."""

    def get(self, numbers: Collection[str]) -> Mapping[str, bytes]:
        """Return keys by their ids, without those that were forgotten."""

    def forget(self, numbers: Collection[str]) -> None:
        """Delete keys for good; some may have been deleted before."""


class GuardedStore:
    """A store that may fail, or take long, without harm: then it is said to be unavailable.

    Args:
        make: Returns the store; called when it is needed, and again after it took too long. While a call
            hangs, others are refused at once, except one a minute, and no more than :data:`MOST_HANGING`.
        patience: Seconds after which a call is given up.
        clock: Returns the time in seconds.
    """

    def __init__(
        self,
        make: Callable[[], KeyStore],
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make = make
        self._patience = patience
        self._clock = clock
        self._made: KeyStore | None = None
        self._known: dict[str, tuple[bytes, float]] = {}
        self._hanging: list[threading.Thread] = []
        self._again = 0.0

    def create(self, number: str) -> bytes:
        """Return a new key.

        Raises:
            KeyStoreUnavailable: The store has failed, or takes too long.
            BemiError: What it has returned is no key.
        """
        key = _key(number, self._call("create", number))
        self._remember(number, key)
        return key

    def get(self, numbers: Collection[str]) -> dict[str, bytes]:
        """Return keys by their ids, without those that the store does not have.

        Raises:
            KeyStoreUnavailable: The store has failed, or takes too long.
            BemiError: What it has returned are no keys.
        """
        now = self._clock()
        # Other threads forget keys meanwhile.
        known = ((number, self._known.get(number)) for number in numbers)
        found = {number: kept[0] for number, kept in known if kept is not None and now < kept[1]}
        if wanted := [number for number in numbers if number not in found]:
            given = self._call("get", wanted)
            if not isinstance(given, Mapping):
                raise BemiError(f"get() of BEMI_KEY_STORE has returned {type(given).__name__}, not a mapping")
            for number in wanted:
                if given.get(number) is not None:
                    found[number] = _key(number, given[number])
                    self._remember(number, found[number])
        return found

    def forget(self, numbers: Collection[str]) -> None:
        """Delete keys.

        Raises:
            KeyStoreUnavailable: The store has failed, or takes too long; some keys may be gone.
        """
        for number in numbers:
            self._known.pop(number, None)
        self._call("forget", list(numbers))

    def _remember(self, number: str, key: bytes) -> None:
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[number] = key, self._clock() + LIFETIME

    def _call(self, method: str, argument: Any) -> Any:
        """Call a method in a thread, which cannot be stopped but is waited for no longer than some time."""
        self._hanging = [thread for thread in self._hanging if thread.is_alive()]
        if self._hanging and (len(self._hanging) >= MOST_HANGING or self._clock() < self._again):
            raise KeyStoreUnavailable(
                f"{method}() of BEMI_KEY_STORE was not called: a call before has not returned"
            )
        answer: list[Any] = []
        failure: list[str] = []

        def ask() -> None:
            try:
                store = self._made = self._made or self._make()
                answer.append(getattr(store, method)(argument))
            # What a project has written may fail in any way.
            except BaseException as error:
                failure.append(type(error).__name__)
            finally:
                _close_connections()

        thread = threading.Thread(target=ask, daemon=True, name="bemi-key-store")
        thread.start()
        thread.join(self._patience)
        if failure:
            # The message may hold a secret.
            raise KeyStoreUnavailable(f"{method}() of BEMI_KEY_STORE has raised {failure[0]}")
        if not answer:
            self._made = None
            self._hanging.append(thread)
            self._again = self._clock() + PAUSE
            raise KeyStoreUnavailable(
                f"{method}() of BEMI_KEY_STORE has not returned within {self._patience:.0f} s"
            )
        return answer[0]


@lru_cache(maxsize=8)
def guarded(make: Callable[[], KeyStore]) -> GuardedStore:
    """Return the store that a function makes: one for the process."""
    return GuardedStore(make)


def _close_connections() -> None:
    """Close what a store has opened with Django: connections belong to a thread, and this one ends."""
    if django_db := sys.modules.get("django.db"):
        with suppress(Exception):
            django_db.connections.close_all()


def _key(number: str, secret: object) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    if not isinstance(secret, (bytes, bytearray)) or len(secret) < _SHORTEST:
        raise BemiError(
            f"BEMI_KEY_STORE has returned something that is no key: a key has at least {_SHORTEST} bytes"
        )
    return HKDF(SHA256(), KEY_BYTES, None, _PURPOSE + number.encode()).derive(bytes(secret))
