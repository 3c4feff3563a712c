from __future__ import annotations

from bemi_django.ingest.progress import Progress

#: The age of the last change in the log, in seconds.
FRESH, LATE = 0.1, 60.0


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_first_line_comes_after_a_second_and_one_a_minute_when_nothing_was_written() -> None:
    clock = Clock()
    progress = Progress(clock=clock)
    progress.add(1000)
    assert not progress.is_due(FRESH)
    clock.now = 2.0
    assert progress.is_due(FRESH)
    assert (
        progress.line(4096, 1.25)
        == "1,000 changes written (500/s), 1,000 in all; behind by 4,096 bytes, 1.2 s"
    )
    clock.now = 61.0
    assert not progress.is_due(LATE)
    clock.now = 62.0
    assert progress.is_due(LATE)
    assert progress.line(0, 0) == "0 changes written (0/s), 1,000 in all; behind by 0 bytes, 0.0 s"
    clock.now = 121.0
    assert not progress.is_due(LATE)


def test_there_is_a_line_a_minute_while_all_is_well() -> None:
    clock = Clock()
    progress = Progress(clock=clock)
    progress.add(1)
    # Before its first change, a session does not know how old the last one of the log is.
    assert progress.line(7, None).endswith("; behind by 7 bytes")
    progress.add(8)
    progress.counts["rows the long way (skipped)"] += 8
    clock.now = 59.0
    assert not progress.is_due(FRESH)
    clock.now = 64.0
    assert progress.is_due(FRESH)
    assert progress.line(-1, -0.5).startswith("8 changes written (0/s), 9 in all; behind by 0 bytes, 0.0 s")
    assert progress.total == 9
    assert progress.summary() == "9 changes written"
    progress.counts["dead letters"] += 2
    assert progress.summary() == "9 changes written; 2 dead letters (kept in _bemi.dead_letters)"


def test_there_is_a_line_a_second_when_something_is_wrong() -> None:
    clock = Clock()
    progress = Progress(clock=clock)
    progress.add(1)
    progress.line(0, 0)
    progress.add(1)
    clock.now = 0.5
    assert not progress.is_due(LATE)
    clock.now = 1.5
    assert progress.is_due(LATE) and not progress.is_due(FRESH)
    progress.counts["dead letters"] += 1
    assert progress.is_due(FRESH)
    progress.line(0, 0)
    progress.add(1)
    clock.now = 3.0
    assert not progress.is_due(FRESH)


def test_whatever_else_was_counted_since_the_last_line_is_in_it() -> None:
    clock = Clock()
    progress = Progress(clock=clock)
    progress.counts["dead letters"] += 2
    progress.counts["rows the long way (skipped)"] += 1000
    progress.add(1)
    clock.now = 2.0
    assert progress.line(0, 0).endswith("; 2 dead letters; 1,000 rows the long way (skipped)")
    progress.counts["dead letters"] += 1
    progress.add(1)
    assert progress.line(0, 0).endswith("; behind by 0 bytes, 0.0 s; 1 dead letters")
