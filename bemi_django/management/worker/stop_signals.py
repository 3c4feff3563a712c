"""SIGTERM and SIGINT end what a command does, in good order."""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from socket import socketpair

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_ACTIVE, connection

_STOPPING = (signal.SIGTERM, signal.SIGINT)
#: Seconds to wait for a server that is asked to cancel a statement: it may be out of reach.
_CANCELLED = 1.0


@contextmanager
def stopped_by_signals(*stops: Callable[[], object]) -> Iterator[None]:
    """Call functions for each SIGTERM and SIGINT while the block runs, in a thread.

    Args:
        stops: The functions. They are called one after the other, and once for each signal.
    """

    def call(number: int) -> None:
        if number in _STOPPING:
            for stop in stops:
                stop()

    with _told(call):
        previous = {number: signal.signal(number, _do_nothing) for number in _STOPPING}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


@contextmanager
def interruptible() -> Iterator[None]:
    """Cancel the statements that this process waits for whenever SIGINT comes, until the block ends.

    While psycopg2 waits for an answer, Python handles no signal: a command would wait as long as another
    session holds a lock. Psycopg 3 sees to it by itself.
    """

    def call(number: int) -> None:
        if number == signal.SIGINT:
            _cancel_statements()

    # Other threads get no signals.
    is_main = threading.current_thread() is threading.main_thread()
    with _told(call, _CANCELLED) if is_main else nullcontext():
        yield


@contextmanager
def _told(call: Callable[[int], object], longest: float | None = None) -> Iterator[None]:
    """Call a function with the number of each signal while the block runs, in a thread.

    At the end, calls are waited for, at most ``longest`` seconds.

    Python calls a signal handler in the main thread only. A signal that the kernel delivers to another thread
    does not wake a main thread that waits for a lock, and one that arrives while another is handled
    interrupts the handler, so that a lock which it holds is waited for by itself. The wakeup file descriptor
    is written in any case: :func:`signal.set_wakeup_fd`.
    """
    reading, writing = socketpair()
    writing.setblocking(False)

    def listen() -> None:
        with reading:
            while numbers := reading.recv(1):
                call(numbers[0])

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    outer = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(outer)
        writing.close()
        thread.join(longest)


def _cancel_statements() -> None:
    # Nobody but the collector knows those of Django, of the archive and of the code that the worker shares.
    for found in gc.get_objects():
        # isinstance() would evaluate lazy objects.
        if issubclass(type(found), connection) and not found.closed:
            with suppress(psycopg2.Error):
                if found.info.transaction_status == TRANSACTION_STATUS_ACTIVE:
                    found.cancel()


def _do_nothing(_number: int, _frame: object) -> None: ...
