"""Complete the ids of transactions, of which rows have the lower half."""

from __future__ import annotations


def whole_xid(xid: int, latest: int) -> int:
    """Return the 64-bit id of a transaction.

    Args:
        xid: Its lower 32 bits; at most two billion transactions away from ``latest``.
        latest: The 64-bit id of a recent transaction.
    """
    if xid < 3:
        return 0
    distance = (latest - xid) & 0xFFFFFFFF
    return max(latest - (distance if distance < 0x80000000 else distance - 0x100000000), 0)
