"""What each index of ``changes`` costs when rows are written."""

from __future__ import annotations

from contextlib import closing
from functools import partial

from bench import measure
from bench.ingest import Lab, lab
from bench.report import Findings, Table
from bench.servers import execute

_OTHERS = {
    "gin (before)": ["gin (before jsonb_path_ops)"],
    "gin (after)": ["gin (after jsonb_path_ops)"],
    "both, as BEMI_INDEX_VALUES has them": ["gin (before jsonb_path_ops)", "gin (after jsonb_path_ops)"],
    "btree (committed_at)": ["btree (committed_at)"],
    "btree (context ->> 'request_id')": ["btree ((context ->> 'request_id'))"],
    "btree (transaction_id)": ["btree (transaction_id)"],
}


def run(is_quick: bool, is_long: bool = False) -> Findings:
    findings = Findings("Indexes")
    count = 2 if is_quick else 3
    with lab(5_000 if is_quick else 20_000, 10_000 if is_quick else 30_000) as made:
        made.work()
        made.keep_rendered()
        with closing(made.connect_log()) as connection:
            default = dict(
                execute(
                    connection,
                    "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index "
                    "WHERE indrelid = 'changes'::regclass AND NOT indisprimary ORDER BY 1",
                )
            )
        runs = {"all": made.copy}
        runs |= {
            f"- {name}": partial(_without, made, name, definition) for name, definition in default.items()
        }
        runs["- all but the primary key"] = partial(_without_any, made, default)
        runs |= {f"+ {name}": partial(_with, made, definitions) for name, definitions in _OTHERS.items()}
        found = measure.rounds(count, runs)
    table = Table(
        f"COPY of {made.stream.changes:,} changes, one index more or less than by default",
        ["indexes", "changes/s", "time of the default's"],
    )
    for name, seconds in found.items():
        speeds = measure.spread([made.stream.changes / second for second in seconds])
        table.add(_named(name, default), speeds.show(0), measure.ratios(seconds, found["all"]).show())
    findings.tables.append(table)
    findings.unfair.append(
        "The table is empty at first: with millions of rows, indexes in another order cost more."
    )
    return findings


def _named(name: str, default: dict[str, str]) -> str:
    if name == "all":
        return "default"
    definition = default.get(name[2:])
    return f"{name[:2]}{definition.split(' USING ')[1]}" if definition else name


def _without(made: Lab, name: str, definition: str) -> float:
    return _changed(made, [f"DROP INDEX {name}"], [definition])


def _without_any(made: Lab, default: dict[str, str]) -> float:
    return _changed(made, [f"DROP INDEX {name}" for name in default], list(default.values()))


def _with(made: Lab, definitions: list[str]) -> float:
    names = [f"other_{number}" for number in range(len(definitions))]
    indexes = zip(names, definitions, strict=True)
    return _changed(
        made,
        [f"CREATE INDEX {name} ON changes USING {definition}" for name, definition in indexes],
        [f"DROP INDEX {name}" for name in names],
    )


def _changed(made: Lab, first: list[str], after: list[str]) -> float:
    made.clear()
    with closing(made.connect_log()) as connection:
        for statement in first:
            execute(connection, statement)
        seconds = made.copy()
        made.clear()
        for statement in after:
            # The index of the partitioned table, which its partitions inherit.
            execute(connection, statement.replace(" ON ONLY ", " ON "))
    return seconds
