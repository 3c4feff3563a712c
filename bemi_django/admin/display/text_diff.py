"""Compare two texts by lines, and then by words inside the lines that differ, in bounded time."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from itertools import groupby
from typing import NamedTuple

from bemi_django.admin.display.values.common_sequence import common_sequence
from bemi_django.admin.display.values.turned_text import in_order
from bemi_django.admin.display.values.unseen_characters import with_signs

#: A longer text is compared only where it begins to differ, and up to this number of characters.
MOST_CHARACTERS = 200_000
#: More words of one place are shown as changed as a whole.
MOST_WORDS = 2000
_MOST_LINES = 4000
#: Lines in a row whose ends are compared.
_MOST_ENDS = 16
#: Longer words are compared by their characters.
_LONGEST_WORD = 40
#: Pairs of equal words or lines in all of a comparison: matching takes time in proportion to them.
MOST_PAIRS = 40_000
#: Whether two parts are equal, and where they begin and end in either sequence.
_Block = tuple[bool, int, int, int, int]

_WORD = re.compile(r"\w+|\s+|[^\w\s]")


class Effort:
    """The pairs of equal words or lines that may still be looked at.

    Args:
        pairs: How many.
        of: What it is a part of, as that of a comparison is of its page's.
    """

    def __init__(self, pairs: int, of: Effort | None = None) -> None:
        self._left = pairs
        self._of = of

    def spend(self, pairs: int) -> bool:
        """Tell whether there is enough left, and take it."""
        if pairs > self._left or (self._of is not None and not self._of.spend(pairs)):
            return False
        self._left -= pairs
        return True


class Piece(NamedTuple):
    """A part of a value's text, and whether it differs from the other side.

    ``is_folded``: the part is equal and far from what differs, and has so many ``lines``, or it is the rest
    of a long one that differs. ``omitted`` is the number of characters that are left out of it.
    """

    text: str
    is_changed: bool
    is_folded: bool = False
    lines: int = 0
    omitted: int = 0

    @property
    def size(self) -> int:
        """The number of its characters, with those that are left out."""
        return len(self.text) + self.omitted

    @property
    def visible(self) -> str:
        """The text, in which white space that differs is seen, and so is what turns its direction."""
        if not self.is_changed:
            return in_order(self.text)
        return in_order(with_signs(self.text))


class Sides(NamedTuple):
    """The texts of a value before and after a change."""

    before: list[Piece]
    after: list[Piece]


def text_differences(
    before: str, after: str, same: Callable[[str], str] | None = None, *, page: Effort | None = None
) -> Sides:
    """Return two texts with the parts marked that differ.

    Args:
        before: The one text.
        after: The other text.
        same: A function of a line; lines for which it returns the same are equal. Without one, lines that
            differ in white space at their ends only are compared with each other.
        page: What may be spent on all comparisons of a page; what it is not enough for differs as a whole.
    """
    head = common_beginning(before, after)
    tail = common_beginning(before[head:][::-1], after[head:][::-1])
    ends = [len(text) - tail for text in (before, after)]
    if max(ends) - head <= MOST_CHARACTERS and max(map(len, (before, after))) <= MOST_CHARACTERS:
        # Whole lines: a line that differs is compared by its words.
        head = before.rfind("\n", 0, head) + 1
        found = before.find("\n", ends[0]) if tail else -1
        tail = len(before) - found - 1 if found >= 0 else 0
    sides = Sides([], [])
    middles = [text[head : len(text) - tail] for text in (before, after)]
    _add(sides, before[:head], after[:head], is_changed=False)
    if max(map(len, middles)) > MOST_CHARACTERS:
        _add(sides, *middles, is_changed=True)
    else:
        _add_lines(sides, middles[0], middles[1], same, Effort(MOST_PAIRS, page))
    _add(sides, before[len(before) - tail :], after[len(after) - tail :], is_changed=False)
    return Sides(_merged(sides.before), _merged(sides.after))


def common_beginning(one: str, other: str) -> int:
    """Return the length of the common beginning of two texts, which may have millions of characters."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _add(sides: Sides, before: str, after: str, *, is_changed: bool) -> None:
    for side, text in zip(sides, (before, after), strict=True):
        if text:
            side.append(Piece(text, is_changed))


def _add_lines(
    sides: Sides, before: str, after: str, same: Callable[[str], str] | None, effort: Effort
) -> None:
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    keys = list(map(same or str.strip, old)), list(map(same or str.strip, new))
    blocks = _blocks(*keys, effort, most=_MOST_LINES)
    if blocks is None:
        _add(sides, before, after, is_changed=True)
        return
    for is_equal, i, j, k, m in blocks:
        if is_equal and same is None:
            _add_alike(sides, old[i:j], new[k:m], effort)
        elif is_equal:
            _add(sides, "".join(old[i:j]), "".join(new[k:m]), is_changed=False)
        else:
            _add_words(sides, "".join(old[i:j]), "".join(new[k:m]), effort)


def _add_alike(sides: Sides, old: Sequence[str], new: Sequence[str], effort: Effort) -> None:
    """Add lines that have the same text, with or without the same white space at their ends."""
    for is_equal, pairs in groupby(zip(old, new, strict=True), lambda pair: pair[0] == pair[1]):
        found = list(pairs)
        # Where the ends of all lines are others, the first ones show how: the rest differs as a whole.
        for pair in () if is_equal else found[:_MOST_ENDS]:
            _add_words(sides, *pair, effort)
        rest = found if is_equal else found[_MOST_ENDS:]
        texts = ("".join(pair[side] for pair in rest) for side in (0, 1))
        _add(sides, *texts, is_changed=not is_equal)


def _add_words(sides: Sides, before: str, after: str, effort: Effort) -> None:
    old, new = _WORD.findall(before), _WORD.findall(after)
    blocks = _blocks(old, new, effort, most=MOST_WORDS, is_junk=str.isspace) if old and new else None
    for is_equal, i, j, k, m in blocks or [(False, 0, len(old), 0, len(new))]:
        if not is_equal and j - i == m - k == 1 and min(len(old[i]), len(new[k])) > _LONGEST_WORD:
            _add_characters(sides, old[i], new[k])
        else:
            _add(sides, "".join(old[i:j]), "".join(new[k:m]), is_changed=not is_equal)


def _add_characters(sides: Sides, before: str, after: str) -> None:
    """Add what is taken for one word each: a sentence without blanks, or what no person reads."""
    head = common_beginning(before, after)
    tail = common_beginning(before[head:][::-1], after[head:][::-1])
    ends = len(before) - tail, len(after) - tail
    _add(sides, before[:head], after[:head], is_changed=False)
    _add(sides, before[head : ends[0]], after[head : ends[1]], is_changed=True)
    _add(sides, before[ends[0] :], after[ends[1] :], is_changed=False)


def _blocks(
    old: Sequence[str],
    new: Sequence[str],
    effort: Effort,
    *,
    most: int,
    is_junk: Callable[[str], bool] | None = None,
) -> list[_Block] | None:
    """Return which parts of two sequences are equal, or None if that would take too long to find out."""
    shorter = min(len(old), len(new))
    head = next((n for n in range(shorter) if old[n] != new[n]), shorter)
    tail = next((n for n in range(shorter - head) if old[-1 - n] != new[-1 - n]), shorter - head)
    ends = len(old) - tail, len(new) - tail
    one, other = old[head : ends[0]], new[head : ends[1]]
    counts = Counter(other)
    pairs = sum(counts[word] for word in one if not (is_junk and is_junk(word)))
    if len(one) + len(other) > most or not effort.spend(pairs):
        return None
    if is_junk is None:
        found = _between(common_sequence(one, other), len(one), len(other))
    else:
        # Of sentences, a longest sequence would have words from all over them.
        matcher = SequenceMatcher(is_junk, one, other, autojunk=False)
        found = [(tag == "equal", i, j, k, m) for tag, i, j, k, m in matcher.get_opcodes()]
    between = [(is_equal, head + i, head + j, head + k, head + m) for is_equal, i, j, k, m in found]
    return [(True, 0, head, 0, head), *between, (True, ends[0], len(old), ends[1], len(new))]


def _between(common: Sequence[tuple[int, int]], *ends: int) -> list[_Block]:
    """Return the equal items of two sequences of some lengths, and what is between them, as blocks."""
    found: list[_Block] = []
    i, k = 0, 0
    for j, m in [*common, ends]:
        if (i, k) != (j, m):
            found.append((False, i, j, k, m))
        begin = found.pop()[1::2] if found and found[-1][0] else (j, m)
        found.append((True, begin[0], j + 1, begin[1], m + 1))
        i, k = j + 1, m + 1
    # The ends are no items.
    _true, i, _end, k, _other_end = found.pop()
    return [*found, (True, i, ends[0], k, ends[1])] if (i, k) != ends else found


def _merged(pieces: list[Piece]) -> list[Piece]:
    """Join adjacent pieces of one kind."""
    found: list[Piece] = []
    for piece in pieces:
        if found and found[-1].is_changed == piece.is_changed:
            found[-1] = Piece(found[-1].text + piece.text, piece.is_changed)
        else:
            found.append(piece)
    return found
