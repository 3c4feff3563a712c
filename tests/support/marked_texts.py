"""A language in which no text has a letter of English, so that what is not translated shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from django.utils import translation

#: What stays as it is in a text that is marked: places that are filled, tags and characters of HTML.
_KEPT = re.compile(r"%\(\w+\)[sd]|%[sd%]|\{\w*\}|<[^>]*>|&\w+;")
_SPOKEN = ("title", "aria-label", "placeholder", "alt")
#: Elements whose content is no text, or none of the reader's language.
_SILENT = frozenset(("script", "style", "code", "pre", "textarea"))
_VOID = frozenset(("input", "br", "img", "meta", "link", "hr", "wbr", "col", "source"))


def mark(text: str) -> str:
    """Return a text with another letter in place of those of English."""
    kept = _KEPT.findall(text)
    parts = [re.sub("[A-Za-z]", "ж", part) for part in _KEPT.split(text)]
    return "".join(part for pair in zip(parts, [*kept, ""], strict=True) for part in pair)


def speak_marked(patch: pytest.MonkeyPatch) -> None:
    """Let all translations be marked texts."""

    def plural(one: str, many: str, count: Any) -> str:
        return mark(one if count == 1 else many)

    speech = {
        "gettext": mark,
        "pgettext": lambda context, text: mark(text),
        "ngettext": plural,
        "npgettext": lambda context, one, many, count: plural(one, many, count),
    }
    for name, function in speech.items():
        getattr(translation._trans, name)  # type: ignore[attr-defined]
        patch.setattr(translation._trans, name, function)  # type: ignore[attr-defined]


class _Spoken(HTMLParser):
    """Collects what people read or hear of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._open: list[tuple[str, bool]] = []

    @property
    def _is_silent(self) -> bool:
        return any(silent for _, silent in self._open)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if not self._is_silent:
            self.texts += [value for name in _SPOKEN if (value := given.get(name))]
        if tag not in _VOID:
            self._open.append((tag, tag in _SILENT or tag != "html" and "lang" in given))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not self._is_silent and data.strip():
            self.texts.append(data)


def english(page: str) -> Iterator[str]:
    """Yield the texts of a page that have words of two letters or more in the letters of English."""
    parser = _Spoken()
    parser.feed(page)
    for text in parser.texts:
        if re.search("[A-Za-z]{2}", text):
            yield " ".join(text.split())
