"""One picture of the results, as PNG and SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot

_COLOURS = {
    "ours": "#0f766e",
    "REPLICA IDENTITY FULL": "#94a3b8",
    "bemi-django": "#b45309",
    "django-pghistory": "#7c3aed",
    "django-auditlog": "#be123c",
    "django-simple-history": "#1d4ed8",
}


#: The topics that the picture is of.
TOPICS = ("overhead", "ingest", "latency", "growth")


def draw(stored: dict[str, Any], directory: Path) -> None:
    """Write ``results.png`` and ``results.svg`` from the latest results of all topics."""
    figure, axes = pyplot.subplots(2, 2, figsize=(13, 9), constrained_layout=True)
    _overhead(axes[0][0], stored.get("overhead", {}))
    _ingest(axes[0][1], stored.get("ingest", {}))
    _latency(axes[1][0], stored.get("latency", {}))
    _growth(axes[1][1], stored.get("growth", {}))
    for name in ("results.png", "results.svg"):
        # Without a date, the same numbers make the same bytes.
        figure.savefig(directory / name, dpi=110, metadata={"Date": None} if name.endswith("svg") else None)
    pyplot.close(figure)


def _overhead(axes: Any, found: dict[str, Any]) -> None:
    axes.set_title("Time of a write against nothing installed")
    bars = found.get("points", {}).get("time of nothing, commit on", {})
    workloads = list(dict.fromkeys(name.split("|")[0] for name in bars))
    variants = list(dict.fromkeys(name.split("|")[1] for name in bars))
    for place, variant in enumerate(variants):
        spreads = [bars[f"{workload}|{variant}"] for workload in workloads]
        medians = [median for median, _, _ in spreads]
        errors = [[m - low for m, low, _ in spreads], [high - m for m, _, high in spreads]]
        where = [number + (place - len(variants) / 2) * 0.13 for number in range(len(workloads))]
        axes.bar(
            where,
            medians,
            0.13,
            yerr=errors,
            label=variant,
            color=_COLOURS.get(variant),
            error_kw={"lw": 0.6},
        )
    axes.axhline(1, color="black", lw=0.6)
    axes.set_yscale("log")
    axes.set_xticks(range(len(workloads)), workloads, rotation=20, ha="right", fontsize=8)
    _legend(axes)


def _ingest(axes: Any, found: dict[str, Any]) -> None:
    axes.set_title("Changes a second")
    bars = found.get("points", {}).get("changes/s", {})
    for name, (median, low, high) in reversed(bars.items()):
        colour = _COLOURS["ours"] if name.startswith("ours") else _COLOURS["REPLICA IDENTITY FULL"]
        axes.barh(name, median, xerr=[[median - low], [high - median]], color=colour, error_kw={"lw": 0.8})


def _latency(axes: Any, found: dict[str, Any]) -> None:
    axes.set_title("From commit to visible in changes")
    for name, shares in found.get("points", {}).get("latency", {}).items():
        axes.plot(shares, [100 * number / len(shares) for number in range(len(shares))], label=name)
    axes.set_xlabel("ms")
    axes.set_ylabel("% of the changes")
    axes.set_xscale("log")
    _legend(axes)


def _growth(axes: Any, found: dict[str, Any]) -> None:
    axes.set_title("Time at a number of changes in the log")
    points = found.get("points", {})
    for name, medians in points.get("microseconds by size", {}).items():
        axes.plot(points["sizes"]["sizes"], medians, marker="o", label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("changes")
    axes.set_ylabel("µs")
    # Between the lines of the queries and that of the ingest.
    _legend(axes, loc="center", bbox_to_anchor=(0.5, 0.3))


def _legend(axes: Any, **where: Any) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7, **where)
