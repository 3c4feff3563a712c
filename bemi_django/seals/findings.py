"""What is found wrong with the chains of a log, and how it is said."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from bemi_django.ingest.destination.partitions import moment_of
from bemi_django.wire.lsn import format_lsn

_LARGEST = (1 << 63) - 1


class TamperFinding(NamedTuple):
    """Something that was changed in the log or in its chains.

    Attributes:
        kind: ``edited``, ``removed`` or ``inserted`` for a change; ``link`` for a link of a chain.
        text: What was found, in words.
        month: The month of the change, as ``2026-11``; empty for a link.
        change: The id of the change, or None.
    """

    kind: str
    text: str
    month: str = ""
    change: UUID | None = None

    def __str__(self) -> str:
        return f"{self.month}: {self.text}" if self.month else self.text


@dataclass
class ChainReport:
    """What a verification has found.

    Attributes:
        chains: Number of chains.
        links: Number of links.
        changes: Number of changes that are sealed and in the log.
        unsealed: Number of changes that were written while nothing was sealed.
        findings: What is wrong, the first of it.
        wrong: How much is wrong.
        operations: What was removed or replaced, when and by whom, in lines.
        anchors: Number of anchors that were compared.
    """

    chains: int = 0
    links: int = 0
    changes: int = 0
    unsealed: int = 0
    anchors: int = 0
    wrong: int = 0
    findings: list[TamperFinding] = field(default_factory=list)
    operations: list[str] = field(default_factory=list)
    _most: int = 1000

    def add(self, finding: TamperFinding) -> None:
        """Add a finding; of very many, only the first ones are kept."""
        self.wrong += 1
        if len(self.findings) < self._most:
            self.findings.append(finding)

    def join(self, other: ChainReport) -> None:
        """Add what another verification has found, of other chains."""
        self.links += other.links
        self.wrong += other.wrong
        self.findings += other.findings[: self._most - len(self.findings)]


def of_change(kind: str, identifier: bytes, position: int, committed_at: int) -> TamperFinding:
    """Return a finding about a change.

    Args:
        kind: What was done to it.
        identifier: Its id.
        position: The commit LSN of its transaction.
        committed_at: The commit time, in microseconds since 2000-01-01 UTC.
    """
    change = UUID(bytes=identifier)
    try:
        moment = moment_of(committed_at)
        month, when = f"{moment:%Y-%m}", f"{moment:%Y-%m-%d %H:%M:%S} UTC"
    except OverflowError:
        month, when = "", "an impossible moment"
    place = format_lsn(position) if 0 <= position <= _LARGEST else str(position)
    text = f"the change {change} of the transaction that committed at {place}, {when}, was {kind}"
    return TamperFinding(kind, text, month, change)


def of_link(chain: str, text: str) -> TamperFinding:
    """Return a finding about a chain."""
    slot, _, lane = chain.partition(".")
    name = f"of the slot {slot}" if chain else "of what was removed and replaced"
    if lane:
        name = f"of lane {lane} of the slot {slot}"
    return TamperFinding("link", f"the chain {name}: {text}")
