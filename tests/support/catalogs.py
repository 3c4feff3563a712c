"""The texts of the package that are translated, and its catalogs.

``python -m tests.support.catalogs`` updates them: it adds new texts without a translation, removes old
ones, and compiles what is there.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import polib
from babel.messages.extract import extract_python
from django.utils.translation.template import templatize

from tests.support.paths import ROOT

PACKAGE = ROOT / "bemi_django"
LANGUAGES = {
    "ar": (
        "nplurals=6; plural=n==0 ? 0 : n==1 ? 1 : n==2 ? 2 : "
        "n%100>=3 && n%100<=10 ? 3 : n%100>=11 && n%100<=99 ? 4 : 5;"
    ),
    "de": "nplurals=2; plural=(n != 1);",
    "es": "nplurals=2; plural=(n != 1);",
    "fr": "nplurals=2; plural=(n > 1);",
    "pt": "nplurals=2; plural=(n != 1);",
}
_KEYWORDS = {
    "_": None,
    "gettext": None,
    "gettext_lazy": None,
    "gettext_noop": None,
    "_n": (1, 2),
    "ngettext": (1, 2),
    "ngettext_lazy": (1, 2),
    "pgettext": ((1, "c"), 2),
    "pgettext_lazy": ((1, "c"), 2),
    "npgettext": ((1, "c"), 2, 3),
}


class Message(NamedTuple):
    """A text, its plural (empty if it has none), and the context that tells it from its equals."""

    text: str
    plural: str = ""
    context: str | None = None


@cache
def messages() -> list[Message]:
    """Return all texts of the package, in order, each once."""
    found: dict[Message, None] = {}
    for path in sorted([*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.html")]):
        source = path.read_text()
        if path.suffix == ".html":
            source = templatize(source, origin=str(path))
        found.update(dict.fromkeys(_messages_in(source)))
    # A text with a plural serves those without one.
    plural = {(message.text, message.context) for message in found if message.plural}
    return [message for message in found if message.plural or (message.text, message.context) not in plural]


def _messages_in(source: str) -> Iterator[Message]:
    stream = io.BytesIO(source.encode())
    for _, function, texts, _ in extract_python(stream, list(_KEYWORDS), (), {}):
        given = [texts] if isinstance(texts, str) else [text for text in texts or () if text]
        if not given:
            continue
        if "pgettext" in function:
            yield Message(given[1], given[2] if "np" in function else "", given[0])
        elif function in ("ngettext", "ngettext_lazy", "_n"):
            yield Message(given[0], given[1])
        else:
            yield Message(given[0])


def catalog_of(language: str) -> Path:
    return PACKAGE / "locale" / language / "LC_MESSAGES" / "django.po"


def placeholders(text: str) -> list[str]:
    """Return the places of a text that are filled, in alphabetical order."""
    return sorted(re.findall(r"%\(\w+\)[sd]|%[sd]|\{\w*\}", text))


def update(language: str) -> None:
    """Bring a catalog up to date with the texts, and compile it."""
    path = catalog_of(language)
    old = polib.pofile(str(path)) if path.exists() else polib.POFile()
    known = {(entry.msgid, entry.msgid_plural, entry.msgctxt): entry for entry in old}
    new = polib.POFile(wrapwidth=100)
    new.metadata = {
        "Project-Id-Version": "bemi-django",
        "Language": language,
        "MIME-Version": "1.0",
        "Content-Type": "text/plain; charset=UTF-8",
        "Content-Transfer-Encoding": "8bit",
        "Plural-Forms": LANGUAGES[language],
    }
    number = int(LANGUAGES[language][9])
    for message in messages():
        entry = known.get((message.text, message.plural, message.context)) or polib.POEntry(
            msgid=message.text, msgid_plural=message.plural, msgctxt=message.context
        )
        if message.plural and not entry.msgstr_plural:
            entry.msgstr_plural = dict.fromkeys(range(number), "")
        new.append(entry)
    path.parent.mkdir(parents=True, exist_ok=True)
    new.save(str(path))
    new.save_as_mofile(str(path.with_suffix(".mo")))


if __name__ == "__main__":
    for each in LANGUAGES:
        update(each)
