"""Types of PostgreSQL with strategies for the text of their values."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

EXTENSIONS = ("hstore", "citext", "ltree")
SETUP = '''
CREATE SCHEMA types;
CREATE TYPE types.mood AS ENUM ('sad', 'very "happy"', 'a,b (c) \\d');
CREATE DOMAIN types.positive AS int CHECK (value > 0);
CREATE DOMAIN types.words AS text[];
CREATE TYPE types.empty AS ();
CREATE TYPE types.pair AS (number int, "a ""word""" text, more int[]);
CREATE DOMAIN types.checked_pair AS types.pair;
CREATE TYPE types.nest AS (first types.pair, every types.pair[], day timestamptz, doc jsonb, feel types.mood);
CREATE TYPE types.textrange AS RANGE (subtype = text);
CREATE TYPE types.secret AS ENUM ('x', 'y');
CREATE FUNCTION types.hide(types.secret) RETURNS json LANGUAGE sql IMMUTABLE AS
    $$SELECT json_build_object('hidden', true, 'length', length($1::text))$$;
CREATE CAST (types.secret AS json) WITH FUNCTION types.hide(types.secret);
'''


@dataclass(frozen=True)
class Type:
    """``round_trips``: jsonb_populate_record() restores the value from its JSON."""

    name: str
    texts: st.SearchStrategy[str]
    round_trips: bool = True

    def __repr__(self) -> str:
        return self.name


characters = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
any_text = st.text(characters, max_size=20) | st.text("a ,{}()[]\"'\\\t\nN", max_size=12) | st.just("NULL")
numbers = st.integers(-(10**40), 10**40).map(str) | st.decimals(-(10**30), 10**30, places=12).map(
    lambda value: f"{value:f}"
)
numerics = (
    numbers
    | st.sampled_from(["NaN", "Infinity", "-Infinity", "0", "-0.000", "1e-500"])
    | st.integers(1, 9).map(lambda digit: str(digit) * 1000 + "." + str(digit) * 500)
)
floats = st.floats().map(repr) | st.sampled_from(["NaN", "Infinity", "-Infinity", "1e-7", "1e15", "1e23"])
dates = st.dates().map(str) | st.sampled_from(["infinity", "-infinity", "0044-03-15 BC", "5874897-12-31"])
times = st.times().map(str) | st.just("24:00:00")
zones = st.sampled_from(["+00", "-08", "+05:30", "-00:44:30"])
stamps = st.datetimes().map(str) | st.sampled_from(["infinity", "-infinity", "0044-03-15 01:02:03.4 BC"])
aware = st.tuples(stamps.filter(lambda stamp: stamp[-1].isdigit()), zones).map("".join) | st.sampled_from(
    ["infinity", "-infinity", "0044-03-15 01:02:03.4+00 BC", "294276-12-31 23:59:59.999999+00"]
)
intervals = st.sampled_from(
    ["0", "1 day 02:03:04.000005", "-1 year -2 mons +3 days -04:05:06.7", "-00:00:00.1", "1000 years"]
)
documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(characters, max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(characters, max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
).map(json.dumps)
points = st.tuples(st.integers(-9, 9), st.integers(-9, 9)).map(lambda xy: f"({xy[0]},{xy[1]})")


def ranges(bounds: list[str]) -> st.SearchStrategy[str]:
    closed = st.tuples(st.sampled_from("[("), st.sampled_from(bounds), st.sampled_from("])"))
    made = closed.map(lambda parts: f"{parts[0]}{parts[1]}{parts[2]}")
    return made | st.sampled_from(["empty", "(,)"])


SCALARS = [
    Type("smallint", st.integers(-(2**15), 2**15 - 1).map(str)),
    Type("int", st.integers(-(2**31), 2**31 - 1).map(str)),
    Type("bigint", st.integers(-(2**63), 2**63 - 1).map(str)),
    Type("numeric", numerics),
    Type("numeric(20,4)", st.decimals(-(10**12), 10**12, places=4).map(str)),
    Type("real", st.floats(width=32).map(repr).filter(lambda text: text != "-0.0")),
    Type("double precision", floats.filter(lambda text: text != "-0.0")),
    # jsonb has no negative zero.
    Type("float4", st.just("-0"), round_trips=False),
    Type("money", st.decimals(-(10**10), 10**10, places=2).map(str)),
    Type("boolean", st.sampled_from(["t", "f"])),
    Type("text", any_text),
    Type("varchar(30)", st.text(characters, max_size=30)),
    Type("char(8)", st.text("ab \"'\\", max_size=8)),
    Type('"char"', st.sampled_from(["a", "", '"', "\\"])),
    Type("name", st.text("ab \"'", max_size=10)),
    Type("bytea", st.binary(max_size=20).map(lambda value: "\\x" + value.hex())),
    Type("uuid", st.uuids().map(str)),
    Type("date", dates),
    Type("time", times),
    Type("timetz", st.tuples(times, zones).map("".join)),
    Type("timestamp", stamps),
    Type("timestamptz", aware),
    Type("interval", intervals),
    # jsonb drops the spaces that json keeps.
    Type("json", documents | st.just(' { "b" : 1.0 , "a":[ ]} '), round_trips=False),
    # JSON does not tell a null of JSON from a NULL.
    Type("jsonb", documents.filter(lambda text: text != "null")),
    Type("jsonb", st.just("null"), round_trips=False),
    Type("inet", st.ip_addresses().map(str) | st.just("10.0.0.1/8")),
    Type("cidr", st.sampled_from(["10.0.0.0/8", "::/0", "2001:db8::/32"])),
    Type("macaddr", st.just("08:00:2b:01:02:03")),
    Type("macaddr8", st.just("08:00:2b:01:02:03:04:05")),
    Type("bit(3)", st.text("01", min_size=3, max_size=3)),
    Type("varbit", st.text("01", max_size=20)),
    Type("tsvector", st.sampled_from(["a b c", "'it''s':1A,2 'x y'", ""])),
    Type("tsquery", st.sampled_from(["a & b", "!'x y' <-> z:*"])),
    Type("point", points),
    Type("line", st.sampled_from(["{1,2,3}", "{0.5,-1,1e10}"])),
    Type("lseg", st.tuples(points, points).map(lambda pair: f"[{pair[0]},{pair[1]}]")),
    Type("box", st.tuples(points, points).map(",".join)),
    Type("path", st.tuples(points, points).map(lambda pair: f"[{pair[0]},{pair[1]}]")),
    Type("polygon", st.tuples(points, points, points).map(lambda three: f"({','.join(three)})")),
    Type("circle", points.map(lambda point: f"<{point},2.5>")),
    Type("int4range", ranges(["1,5", ",3", "2,"])),
    Type("numrange", ranges(["1.5,1e3", "-1,1"])),
    Type("tsrange", ranges(['"2026-01-01 00:00:00","2026-02-01 00:00:00"'])),
    Type("tstzrange", ranges(['"2026-01-01 00:00:00+05","infinity"'])),
    Type("daterange", ranges(["2026-01-01,2026-02-01"])),
    Type("int4multirange", st.sampled_from(["{}", "{[1,3),[5,9)}"])),
    Type("datemultirange", st.sampled_from(["{}", "{[2026-01-01,2026-02-01)}"])),
    Type("oid", st.integers(0, 2**32 - 1).map(str)),
    Type("regclass", st.sampled_from(["pg_class", "0", "4294967295"])),
    Type("regtype", st.sampled_from(["int4", "timestamptz[]", "0"])),
    Type("regproc", st.sampled_from(["now", "0"])),
    Type("regrole", st.just("pg_monitor")),
    Type("regnamespace", st.just("pg_catalog")),
    Type("regprocedure", st.sampled_from(["now()", "0"])),
    Type("regoper", st.just("||/")),
    Type("regoperator", st.just("+(integer,integer)")),
    Type("regconfig", st.sampled_from(["simple", "english"])),
    Type("regdictionary", st.just("simple")),
    Type("regcollation", st.just('"C"')),
    Type("xid", st.just("4294967295")),
    Type("cid", st.just("7")),
    Type("tid", st.just("(7,2)")),
    Type("pg_snapshot", st.just("10:20:10,14")),
    Type("refcursor", any_text),
    Type("pg_lsn", st.just("16/B374D848")),
    Type("jsonpath", st.just('$."a"[*] ? (@ > 1)')),
    Type("int2vector", st.sampled_from(["", "1 2 -3"]), round_trips=False),
    Type("oidvector", st.sampled_from(["", "1 2 3"]), round_trips=False),
    Type("xid8", st.just("12345678901")),
    Type("types.mood", st.sampled_from(["sad", 'very "happy"', "a,b (c) \\d"])),
    Type("types.positive", st.integers(1, 99).map(str)),
    Type("types.textrange", st.just('["a ""q"" \\\\",z)')),
    Type("types.textmultirange", st.sampled_from(["{}", '{["a ""q"" \\\\",z)}'])),
    Type("types.secret", st.sampled_from(["x", "y"]), round_trips=False),
    Type("hstore", st.sampled_from(['"a"=>"1", "b"=>NULL', '"q\\"q"=>"x,y"', ""]), round_trips=False),
    Type("citext", any_text),
    Type("ltree", st.sampled_from(["", "top.child_1", "a"])),
]
#: Exists only if the server is built with libxml.
XML = Type("xml", st.sampled_from(["<a/>", "<a b='\"'>&lt;é</a>", "text"]))


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def array_text(items: list[Any], delimiter: str) -> str:
    printed = (
        array_text(item, delimiter) if isinstance(item, list) else "NULL" if item is None else quoted(item)
        for item in items
    )
    return "{" + delimiter.join(printed) + "}"


def array_of(type_: Type) -> Type:
    """Return arrays of one and two dimensions, with NULLs and with lower bounds other than 1."""
    delimiter = ";" if type_.name == "box" else ","
    item = st.none() | type_.texts
    flat = st.lists(item, max_size=3).map(lambda items: array_text(items, delimiter))
    square = st.lists(st.lists(item, min_size=2, max_size=2), min_size=1, max_size=2)
    deep = square.map(lambda items: array_text(items, delimiter))
    shifted = st.lists(item, min_size=2, max_size=2).map(
        lambda items: "[-1:0]=" + array_text(items, delimiter)
    )
    # JSON cannot hold the bounds.
    return Type(f"{type_.name}[]", flat | deep | shifted, round_trips=False)


def record_text(fields: tuple[str | None, ...]) -> str:
    return "(" + ",".join("" if field is None else quoted(field) for field in fields) + ")"


def composite(name: str, *fields: Type) -> Type:
    parts = st.tuples(*(st.none() | field.texts for field in fields))
    return Type(name, parts.map(record_text), all(field.round_trips for field in fields))


_BY_NAME = {type_.name: type_ for type_ in reversed(SCALARS)}
INTS = Type(
    "int[]", st.lists(st.none() | _BY_NAME["int"].texts, max_size=3).map(lambda items: array_text(items, ","))
)
PAIR = composite("types.pair", _BY_NAME["int"], _BY_NAME["text"], INTS)
PAIRS = Type(
    "types.pair[]", st.lists(st.none() | PAIR.texts, max_size=2).map(lambda items: array_text(items, ","))
)
COMPOSITES = [
    PAIR,
    composite("types.empty"),
    Type("types.checked_pair", PAIR.texts),
    composite("types.nest", PAIR, PAIRS, _BY_NAME["timestamptz"], _BY_NAME["jsonb"], _BY_NAME["types.mood"]),
    Type("types.words", st.lists(any_text, max_size=3).map(lambda items: array_text(items, ","))),
]
ARRAYS = [array_of(type_) for type_ in [*SCALARS, PAIR, COMPOSITES[3]] if type_.name != "xid8"]
TYPES = [*SCALARS, *COMPOSITES, *ARRAYS]
