"""The numbers of the activity page as a file."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Any

from django.http import HttpResponse

from bemi_django.admin.access.own_events import note
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.csv_cells import csv_cell
from bemi_django.admin.display.site_time import local

COLUMNS = ("what", "name", "begins", "changes")


def response(viewer: Viewer, found: dict[str, Any]) -> HttpResponse:
    """Return what the page shows as CSV.

    Args:
        viewer: Who asks.
        found: The context of the page.
    """
    answer = HttpResponse(content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = 'attachment; filename="activity.csv"'
    writer = csv.writer(answer)
    writer.writerow(COLUMNS)
    rows = 0
    for row in _rows(found):
        writer.writerow([csv_cell(value) for value in row])
        rows += 1
    given = {name: value for name, value in viewer.request.GET.items() if value and name != "format"}
    note("exported", page="activity", format="csv", filters=given, rows=rows)
    return answer


def _rows(found: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    chart = found["chart"]
    for column in chart.columns if chart else ():
        for kind, count in zip(chart.kinds, column.numbers, strict=True):
            yield "operation", kind, local(column.step.begin).isoformat(), count
    for ranking in found["rankings"]:
        for line in ranking.lines:
            yield ranking.kind, line.label, "", line.changes
