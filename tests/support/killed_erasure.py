"""``bemi erase`` in a process that kills itself."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import django
from django.core.management import call_command


def main(name: str, batches: int) -> None:
    """Erase an object, one change in a transaction, and end when so many of them are rewritten.

    Args:
        name: What ``bemi erase`` gets.
        batches: The number of batches.
    """
    django.setup()
    from bemi_django.erasure import erase, rewriting

    real = rewriting.rewrite
    done = 0

    def rewrite(*arguments: Any) -> None:
        nonlocal done
        if done == batches:
            os.kill(os.getpid(), signal.SIGKILL)
        real(*arguments)
        done += 1

    erase.BATCH = 1
    setattr(rewriting, "rewrite", rewrite)  # noqa: B010 - a function of a module
    call_command("bemi", "erase", name, "--reason", "test", "--noinput")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
