"""SIGTERM and SIGINT end what a command does, in good order."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socket import socketpair

_STOPPING = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stopped_by_signals(*stops: Callable[[], object]) -> Iterator[None]:
    """Call functions for each SIGTERM and SIGINT while the block runs, in a thread.

    Python calls a signal handler in the main thread only. A signal that the kernel delivers to another thread
    does not wake a main thread that waits for a lock, and one that arrives while another is handled
    interrupts the handler, so that a lock which it holds is waited for by itself. The wakeup file descriptor
    is written in any case: :func:`signal.set_wakeup_fd`.

    Args:
        stops: The functions. They are called one after the other, and once for each signal.
    """
    reading, writing = socketpair()
    writing.setblocking(False)

    def call() -> None:
        while numbers := reading.recv(1):
            if numbers[0] in _STOPPING:
                for stop in stops:
                    stop()

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    outer = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    previous = {number: signal.signal(number, _do_nothing) for number in _STOPPING}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(outer)
        writing.close()
        thread.join()
        reading.close()


def _do_nothing(_number: int, _frame: object) -> None: ...
