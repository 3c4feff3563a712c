"""Tell whether a statement calls functions that may write, or pass its values on."""

from __future__ import annotations

import re
from string import ascii_letters

from bemi_django.patterns import possessive

_LISTED = re.compile(r"\w+")
# What stands before a list in parentheses, and calls nothing.
_WORDS = frozenset(
    _LISTED.findall(
        """all and any array as between by case cast check coalesce conflict constraint cube default delete
        distinct do else elsif end escape except exists extract filter from full group grouping having if
        ilike in inner insert intersect into is join key lateral left like limit loop materialized not
        nothing notnull of offset on only or order over overlaps partition position primary recursive
        references restrict return returning right rollup row select set sets similar some substring
        symmetric table tablesample then to trim unique union update using values when where while window
        with within treat overlay collation xmlelement xmlforest normalize merge"""
    )
)
_TYPES = frozenset(
    _LISTED.findall(
        """bit char character dec decimal float interval numeric time timestamp timestamptz timetz varbit
        varchar varying"""
    )
)
# Functions of PostgreSQL that write nothing and call nothing that a user has made. Those that hash are not
# among them: what they get may be a secret, although the column has no name of one.
_FUNCTIONS = frozenset(
    _LISTED.findall(
        """abs age array_agg array_append array_cat array_length array_position array_prepend array_remove
        array_replace array_to_json array_to_string avg bool_and bool_or btrim ceil ceiling char_length
        clock_timestamp concat concat_ws count cume_dist current_database current_schema currval date_bin
        date_part date_trunc decode dense_rank div encode every exp first_value floor format gen_random_uuid
        generate_series greatest initcap isfinite json_agg json_array_elements json_build_array
        json_build_object json_each json_extract_path json_object json_object_agg json_typeof jsonb_agg
        jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array
        jsonb_build_object jsonb_each jsonb_each_text jsonb_extract_path jsonb_extract_path_text
        jsonb_insert jsonb_object jsonb_object_agg jsonb_object_keys jsonb_path_exists jsonb_path_query
        jsonb_set jsonb_strip_nulls jsonb_typeof justify_days justify_hours justify_interval lag last_value
        lastval lead least left length ln localtime localtimestamp log lower lpad ltrim make_date
        make_interval make_time make_timestamp make_timestamptz max min mod mode now nth_value ntile
        nullif num_nonnulls octet_length percent_rank percentile_cont percentile_disc pg_backend_pid
        pg_sleep pi plainto_tsquery power quote_ident quote_literal quote_nullable random rank regexp_match
        regexp_matches regexp_replace regexp_split_to_array regexp_split_to_table repeat replace reverse
        right round row_number row_to_json rpad rtrim setseed setval sign split_part sqrt starts_with
        statement_timestamp stddev string_agg string_to_array strpos substr sum timeofday timezone to_char
        to_date to_json to_jsonb to_number to_timestamp to_tsquery to_tsvector transaction_timestamp
        translate trunc txid_current unnest upper variance width_bucket nextval websearch_to_tsquery"""
    )
)
_KEYWORDS = _WORDS | _TYPES
_LETTER = r"[\w$\x80-\U0010ffff]"
_NAME = rf'(?:(?<!")"(?:[^"]|"")*+"|(?<!{_LETTER}){_LETTER}{_LETTER}*+)'
_CALL = possessive.compiled(rf"({_NAME})\s*+\(")
# "(row).name" is a field, or calls a function with the row.
_OF_ROW = re.compile(r"\)\s*\.")
_LAST_NAME = re.compile(rf"{_LETTER}+\Z")
# The rest of "name (columns) AS (SELECT ...)".
_PART_OF_WITH = re.compile(
    r"[^()]*\)\s*AS\s+(?:NOT\s+)?(?:MATERIALIZED\s*)?\([\s(]*"
    r"(?:SELECT|WITH|INSERT|UPDATE|DELETE|MERGE|VALUES|TABLE)\b",
    re.IGNORECASE,
)
#: Words after which a name is that of a table, with its columns.
_OF_TABLE = ("into", "as", "table", "references")
#: Characters of the longest path before a name, and of a word before that.
_NEAR = 200


def calls_own(sql: str) -> bool:
    """Return whether a text calls a function that is not known to write nothing.

    Args:
        sql: SQL without literals and comments, or with them if it is not known where they end.
    """
    return _OF_ROW.search(sql) is not None or any(_is_own(sql, found) for found in _CALL.finditer(sql))


def _is_own(sql: str, found: re.Match[str]) -> bool:
    is_quoted = found[1].startswith('"')
    name = found[1][1:-1] if is_quoted else found[1].lower()
    before = sql[max(0, found.start() - _NEAR) : found.start()].rstrip()
    path = None
    while before.endswith("."):
        before, path = _without_name(before[:-1].rstrip())
    if path is None and (name in _FUNCTIONS or (not is_quoted and name in _KEYWORDS)):
        return False
    word = before[len(before.rstrip(ascii_letters)) :].lower()
    if before.endswith(")") or word in _OF_TABLE or _PART_OF_WITH.match(sql, found.end()):
        return False
    return path is None or name not in _FUNCTIONS or path.lower() != "pg_catalog"


def _without_name(text: str) -> tuple[str, str]:
    """Return a text without the name at its end, and the name."""
    if text.endswith('"'):
        start = text.rfind('"', 0, -1)
        return text[: max(start, 0)].rstrip(), text[start + 1 : -1]
    found = _LAST_NAME.search(text)
    start = found.start() if found is not None else len(text)
    return text[:start].rstrip(), text[start:]
