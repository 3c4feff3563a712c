"""Every text of the package is marked for translation, and translated into every language."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import polib
import pytest
from django.template.base import Lexer, TokenType

from tests.support.catalogs import LANGUAGES, PACKAGE, Message, catalog_of, messages, placeholders

#: What stays as it is in every language: names, and words of the search.
AS_IT_IS = {
    "JSON",
    "SQL",
    "reason=Black Friday",
    "task:Sleep",
    "became:task:Sleep",
    '{"reason": "import"}',
    "Enter",
}
AS_IT_IS |= {"pk:42 request:… transaction:…", "python manage.py bemi verify", "/shop/* /shop/order/pk/"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_catalog_has_every_text_and_no_other(language: str) -> None:
    entries = {
        Message(entry.msgid, entry.msgid_plural, entry.msgctxt): entry
        for entry in polib.pofile(str(catalog_of(language)))
    }
    wanted = messages()
    assert len(wanted) > 400
    advice = "python -m tests.support.catalogs, then translate what is empty"
    assert [message for message in wanted if message not in entries] == [], advice
    assert [message for message in entries if message not in wanted] == [], advice
    for message, entry in entries.items():
        forms = list(entry.msgstr_plural.values()) if message.plural else [entry.msgstr]
        assert all(forms) and not entry.fuzzy, f"not translated: {message.text}"
        for form in forms:
            assert set(placeholders(form)) <= set(placeholders(message.plural or message.text)), form
            assert form.strip() == form or message.text.strip() != message.text, form
        if language == "fr":
            assert not re.search("« | [:;?!»]", "".join(forms)), f"a line may break there: {forms}"
        if not message.plural:
            assert placeholders(entry.msgstr) == placeholders(message.text), entry.msgstr


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_catalog_is_compiled(language: str) -> None:
    path = catalog_of(language)
    entries = polib.pofile(str(path)).translated_entries()
    compiled = polib.mofile(str(path.with_suffix(".mo")))
    assert {(each.msgid, each.msgstr, tuple(each.msgstr_plural.values())) for each in compiled} == {
        (each.msgid, each.msgstr, tuple(each.msgstr_plural.values())) for each in entries
    }, "python -m tests.support.catalogs"


#: Where sentences are made that people read in their own language.
TOLD = [
    *sorted((PACKAGE / "admin").rglob("*.py")),
    *sorted((PACKAGE / "templatetags").rglob("*.py")),
    *(PACKAGE / name for name in ("alerts/notice.py", "revert/wording.py")),
]
#: What they join that is no sentence: SQL, JSON, headers and what events keep.
NO_SENTENCES = {
    "sql_text",
    "archive_search",
    "query_plans",
    "transaction_spans",
    "export_lines",
    "steps",
    "value_diff",
}
NO_SENTENCES_IN = {"attachment; filename=", "', '.join(values)", "{_name(found['schema'])}"}


@pytest.mark.parametrize("path", TOLD, ids=lambda path: path.stem)
def test_no_list_is_joined_by_the_marks_of_one_language(path: Path) -> None:
    advice = "join it with bemi_django.admin.display.values.text_lists"
    found = [] if path.stem in NO_SENTENCES else list(_joined_by_hand(ast.parse(path.read_text())))
    assert [one for one in found if not any(part in one for part in NO_SENTENCES_IN)] == [], advice


def _joined_by_hand(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        marks: list[ast.AST] = list(node.values) if isinstance(node, ast.JoinedStr) else []
        if isinstance(node, ast.Call):
            called = node.func
            is_join = isinstance(called, ast.Attribute) and called.attr == "join"
            marks += [called.value] if is_join and isinstance(called, ast.Attribute) else []
            marks += node.args[:1] if ast.unparse(called).endswith("format_html_join") else []
        texts = [
            mark.value for mark in marks if isinstance(mark, ast.Constant) and isinstance(mark.value, str)
        ]
        if any(re.search(r"^\s*[,;]\s|[,;] $|\b(and|or) $", text) for text in texts):
            yield ast.unparse(node)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.html")), ids=lambda path: path.name)
def test_no_text_of_a_template_is_unmarked(path: Path) -> None:
    depth, plain = 0, ""
    for token in Lexer(path.read_text()).tokenize():
        if token.token_type == TokenType.BLOCK:
            name = token.contents.split()[0]
            depth += name in ("blocktranslate", "comment")
            depth -= name in ("endblocktranslate", "endcomment")
        plain += token.contents if token.token_type == TokenType.TEXT and not depth else "\0"
    spoken = r'(?:aria-label|title|placeholder|alt)="([^"\0]*[A-Za-z]{2}[^"\0]*)"'
    found = re.findall(spoken, plain)
    text = re.sub(r"&\w+;", "", re.sub(r"<[^>]*>", "\0", plain))
    # Also a comma: each language has its own.
    found += [
        words for words in map(str.strip, re.split(r"[\0\n]", text)) if re.search("[A-Za-z]{2}|[,;]", words)
    ]
    found += re.findall(r'join:"[^"]*"', path.read_text())
    assert set(found) - AS_IT_IS <= {"app-bemi_django bemi-page"}


def test_numbers_in_templates_have_thousands_separators() -> None:
    # What is shown as it is counts what is on the page.
    few = {"facets.counted", "tree.shown", "steps_count", "row.more"}
    counted = re.compile(r"blocktranslate count (\w+)=(\S+)[^%]*%}(.*?){% endblock", re.DOTALL)
    for path in PACKAGE.rglob("*.html"):
        shown = re.findall(r"blocktranslate with [^%]*\bnumber=(\S+)", path.read_text())
        assert all(value.endswith("|grouped") for value in shown), (path.name, shown)
        for name, value, text in counted.findall(path.read_text()):
            is_few = value in few or value.endswith("|length")
            assert is_few or f"{{{{ {name} }}}}" not in text, (path.name, text)
