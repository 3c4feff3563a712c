"""Note differences that nothing explains, and those among them that were accepted."""

from __future__ import annotations

from collections.abc import Sequence

from bemi_django.verification.records.result import Verified
from bemi_django.verification.subject import Subject
from bemi_django.verification.suspects import Difference


def note(subject: Subject, result: Verified, findings: Sequence[Difference]) -> None:
    """Add differences to a result.

    Args:
        subject: The table.
        result: The result.
        findings: Differences that nothing explains.
    """
    accepted = subject.acceptance.accepted(
        str(subject.table), [(finding.digest, finding.kind) for finding in findings]
    )
    for finding in findings:
        if finding.digest in accepted:
            result.accepted += finding.times
            continue
        columns = f": {', '.join(finding.columns)}" if finding.columns else ""
        result.differences_of(finding.kind).add(f"{finding.key}{columns}", finding.times)
