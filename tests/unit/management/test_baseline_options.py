"""``bemi baseline --to`` takes the address of a sink that has rows of its own."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("nats://127.0.0.1/a.b", "the address of the queue is not valid"),
        ("ftp://127.0.0.1/file", "the address of the sink is not known"),
    ],
)
def test_what_is_no_sink_is_refused(address: str, said: str) -> None:
    with pytest.raises(CommandError, match=said):
        call_command("bemi", "baseline", "--to", address)
