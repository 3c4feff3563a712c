"""A page that shows changes to a person, in one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from bemi_django.disclosure.disclosed import DisclosedChange
from bemi_django.log.lossless_json import dumps

_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }}
section {{ border-top: 1px solid #ccc; padding: .8rem 0; }}
h2 {{ font-size: 1rem; margin: 0; }}
p {{ margin: .2rem 0; color: #555; }}
table {{ border-collapse: collapse; margin: .5rem 0; width: 100%; }}
th, td {{ border: 1px solid #ddd; padding: .2rem .5rem; text-align: left; vertical-align: top; }}
td {{ overflow-wrap: anywhere; white-space: pre-wrap; }}
th {{ background: #f5f5f5; font-weight: 600; }}
tr.changed td {{ background: #fff8e0; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{note}</p>
"""
_CHANGE = """<section>
<h2>{what} of <bdi>{table}</bdi> <bdi>{key}</bdi></h2>
<p>{when} · {relation}{who}</p>
{rows}</section>
"""
_ROWS = "<table><tr><th>Field</th><th>Before</th><th>After</th></tr>\n{}</table>\n"
_ROW = '<tr class="{}"><th>{}</th><td>{}</td><td>{}</td></tr>\n'
_END = "<p>{number} changes</p>\n</body>\n</html>\n"
_NOTE = "All that the audit trail has, in the order of time. Times are in UTC."

_WHAT = {
    "CREATE": "Creation",
    "UPDATE": "Change",
    "DELETE": "Deletion",
    "BASELINE": "State",
    "ERASED": "Erasure of values",
}
_RELATIONS = {"own": "about you", "related": "belongs to you", "made": "done by you"}
_WHO = ("user_id", "command", "path", "ip", "reason")


def head(title: str) -> str:
    """Return the beginning of the page."""
    return format_html(_HEAD, title=title, note=_NOTE)


def section(disclosed: DisclosedChange) -> str:
    """Return the part of the page about a change."""
    record = disclosed.record
    rows = format_html_join("", _ROW, _fields(disclosed.before, disclosed.after))
    return format_html(
        _CHANGE,
        what=_WHAT.get(record["operation"], record["operation"]),
        table=record["table"],
        key=record["primary_key"] or "",
        when=record["committed_at"],
        relation=_RELATIONS[disclosed.relation],
        who=_who(disclosed.context),
        rows=format_html(_ROWS, rows) if rows else SafeString(""),
    )


def end(number: int) -> str:
    """Return the end of the page.

    Args:
        number: The number of changes.
    """
    return format_html(_END, number=number)


def _who(context: Mapping[str, Any]) -> SafeString:
    # No value turns the direction of what stands behind it.
    found = ((key, _text(context[key])) for key in _WHO if key in context)
    return format_html_join("", " · {}: <bdi>{}</bdi>", found)


def _fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    for name in sorted({**before, **after}):
        texts = [_text(row[name]) if name in row else "" for row in (before, after)]
        yield "changed" if before and after and texts[0] != texts[1] else "", name, texts[0], texts[1]


def _text(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else dumps(value)
