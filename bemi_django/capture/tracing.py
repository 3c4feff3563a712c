"""The active OpenTelemetry span."""

from __future__ import annotations

import sys


def active_span() -> dict[str, str]:
    """Return the identifiers of the active OpenTelemetry span.

    Returns:
        ``trace_id`` and ``span_id`` in the hexadecimal form of W3C Trace Context, or nothing if no
        span is active.
    """
    # An application that has a span has imported this module; others do not pay for the import.
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return {}
    span = trace.get_current_span().get_span_context()
    if not span.is_valid:
        return {}
    return {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}
