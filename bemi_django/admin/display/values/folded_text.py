"""Fold what is long: equal parts far from a difference, and the rest of long parts that differ."""

from __future__ import annotations

from collections.abc import Iterator

from bemi_django.admin.display.text_diff import Piece, Sides

#: Equal lines shown before and after lines that differ; and characters of one line.
_LINES_AROUND = 3
_CHARACTERS_AROUND = 160
#: Lines and characters of a part that differs which are shown before the rest of it is folded.
_CHANGED_LINES, _CHANGED_CHARACTERS = 16, 600
#: Characters of a part that are on a page at most.
_SHOWN = 20_000


def folded(sides: Sides) -> Sides:
    """Return sides whose equal parts are folded, but for what is near to a difference; long ones are cut."""
    return Sides(*(list(_folded(side)) for side in sides))


def whole(text: str) -> list[Piece]:
    """Return a text without marks, folded if it is long."""
    return list(_folded([Piece(text, is_changed=False)]))


def _folded(pieces: list[Piece]) -> Iterator[Piece]:
    for number, piece in enumerate(pieces):
        if piece.is_changed:
            yield from _in_two(piece)
            continue
        is_first, is_last = number == 0, number == len(pieces) - 1
        if is_first and is_last:
            # Nothing differs: the beginning says what it is.
            is_first = False
        head, middle, tail = _parts(piece.text, is_first=is_first, is_last=is_last)
        for text, is_folded in ((head, False), (middle, True), (tail, False)):
            if text:
                lines = text.count("\n") + (not text.endswith("\n")) if is_folded else 0
                yield _cut(Piece(text, is_changed=False, is_folded=is_folded, lines=lines))


def _in_two(piece: Piece) -> Iterator[Piece]:
    """Yield the beginning of a part that differs, and fold the rest of it, unless it is short."""
    lines = piece.text.splitlines(keepends=True)
    shown = "".join(lines[:_CHANGED_LINES])[:_CHANGED_CHARACTERS]
    if len(lines) <= 2 * _CHANGED_LINES and len(piece.text) <= 2 * _CHANGED_CHARACTERS:
        yield piece
        return
    yield Piece(shown, is_changed=True)
    yield _cut(Piece(piece.text[len(shown) :], is_changed=True, is_folded=True))


def _parts(text: str, *, is_first: bool, is_last: bool) -> tuple[str, str, str]:
    """Return what is shown of an equal text after a difference, what is folded, and what comes before one."""
    lines = text.splitlines(keepends=True)
    before, after = (0 if is_first else _LINES_AROUND), (0 if is_last else _LINES_AROUND)
    if len(lines) > 2 * _LINES_AROUND + 2:
        end = len(lines) - after
        return "".join(lines[:before]), "".join(lines[before:end]), "".join(lines[end:])
    if len(text) > 4 * _CHARACTERS_AROUND:
        begin = 0 if is_first else _CHARACTERS_AROUND
        end = len(text) - (0 if is_last else _CHARACTERS_AROUND)
        return text[:begin], text[begin:end], text[end:]
    return text, "", ""


def _cut(piece: Piece) -> Piece:
    return piece._replace(text=piece.text[:_SHOWN], omitted=max(len(piece.text) - _SHOWN, 0))
