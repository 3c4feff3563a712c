"""What recording costs an application: the same writes with nothing installed, with ours and with others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import NamedTuple

from bench import measure, servers
from bench.report import Findings, Table, Target
from bench.servers import parameters
from sample_project.postgres_server import Server

NOTHING, IDENTITY, OURS = "nothing", "REPLICA IDENTITY FULL", "ours"
VARIANTS = (
    NOTHING,
    IDENTITY,
    OURS,
    "bemi-django",
    "django-pghistory",
    "django-auditlog",
    "django-simple-history",
)
_SIGNALS = {"django-auditlog", "django-simple-history"}
#: (variant, workload) that leaves no record, as it bypasses Django's signals or Django.
_BLIND = {
    *(
        (variant, workload)
        for variant in _SIGNALS
        for workload in ("bulk_create of 5,000", "update of 5,000")
    ),
    *((variant, "SQLAlchemy flush of 1,000") for variant in _SIGNALS),
}


class Answer(NamedTuple):
    """``cpu`` is the processor time of the application and of the server's process for it, in seconds."""

    seconds: float
    wal: float
    cpu: float


class Variant:
    """The process of a variant, which runs workloads and answers what they took."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("a variant did not start")

    def run(self, workload: str, synchronous_commit: str) -> Answer:
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps([workload, synchronous_commit]) + "\n")
        process.stdin.flush()
        answer: Answer = Answer(*json.loads(process.stdout.readline()))
        return answer


@contextmanager
def variant(server: Server, name: str) -> Iterator[Variant]:
    database = "v_" + "".join(letter for letter in name.lower() if letter.isalnum())
    servers.create_database(server, database)
    environment = {
        **os.environ,
        "BENCH_VARIANT": name,
        "BENCH_DATABASE": json.dumps(parameters(server, database)),
        "DJANGO_SETTINGS_MODULE": "bench.settings",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "bench.variant"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        try:
            yield Variant(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(20)


Found = dict[str, list[Answer]]


def run(is_quick: bool, is_long: bool = False) -> Findings:
    from bench.workloads import WORKLOADS

    findings = Findings("Application overhead")
    # Full-page images after a checkpoint would hide what a change costs.
    with servers.server(full_page_writes="off") as server, ExitStack() as stack:
        started = {name: stack.enter_context(variant(server, name)) for name in VARIANTS}
        for commit in ("off", "on"):
            found = {
                workload: measure.rounds(
                    3 if is_quick else kind.rounds,
                    {name: partial(started[name].run, workload, commit) for name in VARIANTS},
                    warm=1,
                )
                for workload, kind in WORKLOADS.items()
            }
            changes = {workload: kind.changes for workload, kind in WORKLOADS.items()}
            _report(findings, found, changes, commit)
    findings.unfair += [
        "The others store their records in the same commit; those of ours and bemi-django are written later "
        "by a worker, whose work is under Ingest.",
        "bemi-django has REPLICA IDENTITY FULL here, which it needs for the row before the change.",
        "django-auditlog and django-simple-history do not see bulk_create, update() and SQLAlchemy (marked "
        "†), so they do less work there.",
        "The client and the server share the machine; with a network between them, ratios are closer to 1.",
        "The requests are served by a thread of the process that sends them: the time includes both.",
        "full_page_writes is off, so that the bytes of WAL do not depend on the last checkpoint.",
    ]
    return findings


def _report(findings: Findings, found: dict[str, Found], changes: dict[str, int], commit: str) -> None:
    setting = f"synchronous_commit = {commit}"
    others = VARIANTS[1:]
    time = Table(f"Time against nothing installed, {setting}", ["workload", "nothing", *others])
    cpu = Table(f"Processor time against nothing installed, {setting}", ["workload", "nothing", *others])
    wal = Table(f"Bytes of WAL a change, {setting}", ["workload", *VARIANTS])
    bars = findings.points.setdefault(f"time of nothing, commit {commit}", {})
    for workload, runs in found.items():
        number = changes[workload]
        marks = {name: "†" if (name, workload) in _BLIND else "" for name in VARIANTS}
        sizes = {name: measure.spread([answer.wal / number for answer in runs[name]]) for name in VARIANTS}
        wal.add(workload, *(f"{sizes[name].median:,.0f}{marks[name]}" for name in VARIANTS))
        seconds = {name: [answer.seconds for answer in runs[name]] for name in VARIANTS}
        busy = {name: [answer.cpu for answer in runs[name]] for name in VARIANTS}
        for table, numbers in ((time, seconds), (cpu, busy)):
            each = measure.spread([second / number * 1e6 for second in numbers[NOTHING]])
            ratios = {name: measure.ratios(numbers[name], numbers[NOTHING]) for name in VARIANTS}
            cells = [ratios[name].show() + marks[name] for name in others]
            table.add(workload, f"{each.show(0)} µs a change", *cells)
        ratios = {name: measure.ratios(seconds[name], seconds[NOTHING]) for name in VARIANTS}
        bars.update({f"{workload}|{name}": list(ratios[name]) for name in others})
        _judge(findings, workload, commit, ratios, sizes)
    findings.tables += [time, cpu, wal]


def _judge(
    findings: Findings,
    workload: str,
    commit: str,
    ratios: dict[str, measure.Spread],
    sizes: dict[str, measure.Spread],
) -> None:
    limit = 1.1 if workload.startswith("save") else 1.03 if workload.startswith("request") else 1.05
    ours = ratios[OURS]
    found = f"{ours.show()}"
    claim = f"{workload}, commit {commit}: at most {limit:.2f} of nothing installed"
    findings.targets.append(Target(claim, found, round(ours.median, 2) <= limit))
    rivals = {
        name: ratios[name]
        for name in VARIANTS
        if name not in (NOTHING, IDENTITY, OURS) and (name, workload) not in _BLIND
    }
    best = min(rivals, key=lambda name: rivals[name].median)
    findings.targets.append(
        Target(
            f"{workload}, commit {commit}: lowest of all that capture",
            f"{ours.median:.2f}, {best} {rivals[best].median:.2f}",
            ours.median <= rivals[best].median,
        )
    )
    if commit == "on":
        return
    if workload.startswith(("save", "request")):
        lowest = min(sizes["bemi-django"].median, sizes["django-pghistory"].median)
        claim = f"{workload}: less WAL than bemi-django and django-pghistory"
        met = sizes[OURS].median < lowest
        others = " and ".join(f"{sizes[name].median:.0f}" for name in ("bemi-django", "django-pghistory"))
        found = f"{sizes[OURS].median:.0f}, they {others}"
    else:
        share = sizes[OURS].median / sizes[IDENTITY].median
        claim, met = f"{workload}: WAL within 1.02 of REPLICA IDENTITY FULL alone", round(share, 2) <= 1.02
        found = f"{share:.3f}"
    findings.targets.append(Target(claim, found, met))
