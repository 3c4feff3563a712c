"""The examples on the pages of ``docs/``."""

from __future__ import annotations

import re

from tests.support.paths import ROOT


def blocks(language: str, page: str) -> list[str]:
    """Return the examples of a page in a language, in order."""
    text = (ROOT / f"docs/{page}.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
