"""What reads and makes the keys of subjects: the keys of the project, and its store."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from bemi_django.encryption.key_store import GuardedStore, KeyStore, guarded
from bemi_django.encryption.master_keys import MasterKeys
from bemi_django.exceptions import KeyStoreUnavailable

logger = logging.getLogger(__name__)


class ProjectKeys(NamedTuple):
    """The keys of ``BEMI_ENCRYPTION_KEY``, and the store of ``BEMI_KEY_STORE`` if there is one."""

    masters: MasterKeys
    store: GuardedStore | None = None

    def readable(self, numbers: Collection[str]) -> dict[str, bytes | None]:
        """Return the keys of a store that are left; all are None if it cannot be asked."""
        if self.store is None:
            return dict.fromkeys(numbers)
        try:
            return {**self.store.get(numbers)} if numbers else {}
        except KeyStoreUnavailable as error:
            logger.warning("%s: encrypted values cannot be read", error)
            return dict.fromkeys(numbers)


def project_keys(keys: Sequence[bytes], make: Callable[[], KeyStore] | None) -> ProjectKeys:
    """Return what a project has.

    Args:
        keys: The keys of ``BEMI_ENCRYPTION_KEY``.
        make: Makes the store of ``BEMI_KEY_STORE``, or None.
    """
    return ProjectKeys(MasterKeys(keys), None if make is None else guarded(make))
