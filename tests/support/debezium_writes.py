"""What is written to the tables of a :class:`DebeziumTrail`, for both readers to compare."""

from __future__ import annotations

from io import StringIO
from typing import Any

_ROW = r"""/*Bemi {"user": 1} Bemi*/ INSERT INTO kinds (
    id, b, i2, i4, i8, f4, f8, n, m, p, t, v, c, u, by, j, jb, d, ti, ti3, ttz, ts, ts3, tz, iv, e, pr, inet,
    rng, bits, ai, at, an, atz, ab, au, money, pt, x, bx, lsn, dp, nm)
VALUES (
1, true, -2, 7, 9223372036854775807, 0.1, 1e-7, -1234567890.12, 123456789012345678901234567890.50, 99.5,
'é "quoted" \ ' || chr(10) || ' 😀', 'v', 'ab', '00000000-0000-0000-0000-00000000000a', '\x00ff',
'{"b" : [1.10]}', '{"a": 1e3}', '2024-02-29', '23:59:59.999999', '01:02:03.5', '01:02:03+00',
'2024-01-02 03:04:05.678901', '1969-12-31 23:59:59.5', '2024-07-01 12:00:00.25+02',
'1 mon 2 days 03:04:05.6', 'ok', NULL, '10.0.0.1/8',
'[1,5)', B'0000000101', '{1,NULL,3}', '{a,"b c",NULL,"",NULL}', '{1.50,-2,NULL}', '{2024-01-01 00:00:00+00}',
'{true,false}', '{00000000-0000-0000-0000-00000000000b}', '12.34', '(1.5,-2)', '<a/>', '(1.5,2),(0,0)',
'0/16B3748', '{1.50}', 'nam')
"""
#: Each is one message to the server, in autocommit.
STATEMENTS = (
    _ROW,
    "/*Bemi {\"user\": 2} Bemi*/ UPDATE kinds SET t = 'x', m = 1e20, f8 = 12345678901234567890, "
    "ts = '0044-03-15 12:00:00 BC', d = '12024-01-01', tz = '2024-01-01 00:00+00', money = '-12.34'",
    "INSERT INTO kinds (id) VALUES (2)",
    '/*Bemi {"user": 3} Bemi*/ UPDATE kinds SET id = 3 WHERE id = 2',
    "INSERT INTO kinds (id, d, ts, ts3, tz, n, m, f4, f8) VALUES (4, 'infinity', '-infinity', 'infinity', "
    "'infinity', NULL, 'NaN', 'NaN', '-Infinity')",
    '/*Bemi {"user": 4} Bemi*/ DELETE FROM kinds WHERE id < 4',
    "INSERT INTO notes VALUES (1, repeat('x', 2500), ARRAY[repeat('y', 2500), 'z'], "
    "decode(repeat('ab', 2500), 'hex'), 1)",
    '/*Bemi {"user": 5} Bemi*/ UPDATE notes SET n = 2',
    "UPDATE notes SET id = 2",
    "UPDATE notes SET body = NULL",
    "DELETE FROM notes",
    "INSERT INTO pairs VALUES (1, 'a', 1), (2, 'b', 2)",
    "UPDATE pairs SET b = 'c' WHERE a = 1",
    "UPDATE pairs SET n = NULL WHERE a = 2",
    "INSERT INTO loose VALUES (1, 'same'), (1, 'same'); DELETE FROM loose WHERE a = 2",
    "/*Bemi {\"user\": 6} Bemi*/ INSERT INTO months VALUES (1, '2024-01-05')",
    "UPDATE months SET at = '2024-02-05'",
    "TRUNCATE pairs, loose",
    "SELECT pg_logical_emit_message(true, 'another', 'of nobody')",
    'SELECT pg_logical_emit_message(true, \'_bemi_event\', \'{"event": "viewed", "schema": "public", '
    '"table": "kinds", "key": "4"}\')',
)
#: In one transaction: contexts of two statements, and a part that was rolled back.
TRANSACTION = (
    "/*Bemi {\"user\": 7} Bemi*/ INSERT INTO pairs VALUES (7, 'a', 1)",
    "SAVEPOINT s",
    '/*Bemi {"user": 8} Bemi*/ DELETE FROM pairs',
    "ROLLBACK TO s",
    '/*Bemi {"user": 9} Bemi*/ UPDATE pairs SET n = 9',
    "UPDATE notes SET n = 3",
)
_COPIED = "".join(f"{number}\tcopied\t{number}\n" for number in range(100, 105))


def write_everything(cursor: Any) -> None:
    """Write to all tables, on a connection in autocommit."""
    for statement in STATEMENTS:
        cursor.execute(statement)
    cursor.copy_expert('/*Bemi {"user": 10} Bemi*/ COPY pairs FROM STDIN', StringIO(_COPIED))
    cursor.execute("BEGIN")
    for statement in TRANSACTION:
        cursor.execute(statement)
    cursor.execute("COMMIT")
    cursor.execute("SELECT pg_logical_emit_message(false, '_bemi_event', '{\"event\": \"alone\"}')")
    cursor.execute("INSERT INTO pairs VALUES (8, 'last', 1)")
