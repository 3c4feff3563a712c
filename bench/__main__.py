"""``python -m bench [topic ...] [--quick | --long]``: run benchmarks and write RESULTS.md and the plot."""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
import time

from bench import plot, report, servers

_MET = {True: "met", False: "NOT MET", None: "not measured"}
TOPICS = (
    "overhead",
    "trigger",
    "provenance",
    "ingest",
    "masks",
    "indexes",
    "latency",
    "memory",
    "growth",
    "storage",
    "time_travel",
    "tables",
    "ddl",
    "scale",
    "export",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "topics", nargs="*", metavar="topic", help=f"any of {', '.join(TOPICS)}; all by default"
    )
    effort = parser.add_mutually_exclusive_group()
    effort.add_argument(
        "--quick", action="store_true", help="a trial run of minutes; its numbers mean little"
    )
    effort.add_argument(
        "--long", action="store_true", help="an hour of load, ten million changes, five million rows"
    )
    given = parser.parse_args()
    if unknown := set(given.topics) - set(TOPICS):
        parser.error(f"unknown topic: {', '.join(sorted(unknown))}; choose from {', '.join(TOPICS)}")
    logging.basicConfig(level=logging.WARNING)
    with servers.server() as server:
        about = servers.describe(server)
    how = "python -m bench" + (" --quick" if given.quick else " --long" if given.long else "")
    for topic in given.topics or TOPICS:
        say(f"{topic} ...")
        began = time.monotonic()
        findings = importlib.import_module(f"bench.{topic}").run(given.quick, given.long)
        report.keep(topic, findings, time.monotonic() - began, f"{how} {topic}", about)
        say(f"{topic}: {time.monotonic() - began:.0f} s")
        for target in findings.targets:
            say(f"  {_MET[target.is_met]}: {target.claim}: {target.found}")
    page = report.HERE / "RESULTS.md"
    page.write_text(report.render(TOPICS, page.read_text()))
    say("written: bench/RESULTS.md")
    stored = report.load()
    if stored.keys() >= set(plot.TOPICS):
        plot.draw(stored, report.HERE)
        say("written: bench/results.png, bench/results.svg")
    else:
        say(f"the pictures stay as they are: they need {', '.join(plot.TOPICS)}")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
