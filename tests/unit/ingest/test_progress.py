from __future__ import annotations

from bemi_django.ingest.progress import Progress


def test_there_is_a_line_a_second_at_most_and_none_when_nothing_came() -> None:
    now = 0.0
    progress = Progress(interval=1.0, clock=lambda: now)
    progress.add(1000)
    assert not progress.is_due
    now = 2.0
    assert progress.is_due
    assert (
        progress.line(4096, 1.25)
        == "1,000 changes written (500/s), 1,000 in all; behind by 4,096 bytes, 1.2 s"
    )
    assert not progress.is_due
    now = 10.0
    assert not progress.is_due
    progress.add(8)
    assert progress.line(-1, -0.5) == "8 changes written (1/s), 1,008 in all; behind by 0 bytes, 0.0 s"
    assert progress.total == 1008


def test_whatever_else_was_counted_since_the_last_line_is_in_it() -> None:
    now = 0.0
    progress = Progress(interval=1.0, clock=lambda: now)
    progress.counts["dead letters"] += 2
    progress.counts["rows the long way (skipped)"] += 1000
    progress.add(1)
    now = 2.0
    assert progress.line(0, 0).endswith("; 2 dead letters; 1,000 rows the long way (skipped)")
    progress.counts["dead letters"] += 1
    progress.add(1)
    assert progress.line(0, 0).endswith("; behind by 0 bytes, 0.0 s; 1 dead letters")
