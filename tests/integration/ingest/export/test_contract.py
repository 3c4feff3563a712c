"""What holds for every sink: killed at any moment, nothing is lost, nothing comes twice, and order is kept.

``BEMI_BLOWS`` is the number of kills: 100 in ``make torture``. ``BEMI_SEED`` chooses other moments.
"""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import ExitStack

from tests.support.command import Command
from tests.support.exporting import Sink
from tests.support.polling import until

BLOWS = int(os.environ.get("BEMI_BLOWS", "1"))
SEED = int(os.environ.get("BEMI_SEED", "1"))


def test_nothing_is_lost_or_written_twice_by_killed_workers(sink: Sink) -> None:
    chance = random.Random(SEED)
    with ExitStack() as stack:

        def start(number: int) -> Command:
            return stack.enter_context(sink.process(number=number))

        running = [start(number) for number in range(sink.processes)]
        until(lambda: sink.is_begun, why=lambda: "".join(one.out + one.errors for one in running))
        # All that is there is read again and again: a hundred kills take an hour otherwise.
        with sink.trail.load(pause=0.02):
            until(lambda: sink.read(), why=lambda: "".join(one.out + one.errors for one in running))
            for blow in range(BLOWS):
                if blow % 4:
                    # Otherwise it is killed while it starts.
                    goes_on(sink)
                # Random moments are what this is about.
                time.sleep(chance.uniform(0.02, 0.3))
                number = blow % len(running)
                running[number].send(signal.SIGKILL)
                assert running[number].ends() == -signal.SIGKILL
                running[number] = start(number)
        sink.catch_up()
        assert not any("row-value" in one.out + one.errors for one in running)


def goes_on(sink: Sink) -> None:
    """Wait until the sink has more."""
    known = len(sink.read())
    until(lambda: len(sink.read()) > known, why=lambda: sink.url)
