"""The metrics as instruments of OpenTelemetry."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bemi_django.metrics.answers import Answers
from bemi_django.metrics.recent import StillReading
from bemi_django.metrics.samples import DESCRIPTIONS, EVENTS

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter


def observe(answers: Answers, meter: Meter | None = None) -> None:
    """Create an instrument for each metric; OpenTelemetry reads them as its reader is configured.

    Args:
        answers: Whose samples they show.
        meter: Where to create them; by default the meter ``bemi_django`` of the global provider.

    Raises:
        ImportError: ``opentelemetry-api`` is not installed.
    """
    from opentelemetry import metrics

    chosen = meter or metrics.get_meter("bemi_django")
    for name, description in DESCRIPTIONS.items():
        create = chosen.create_observable_counter if name == EVENTS else chosen.create_observable_gauge
        create(name.replace("_", ".", 1), [_callback(answers, name)], description=description)


def _callback(answers: Answers, name: str) -> Callable[[Any], Iterable[Any]]:
    from opentelemetry.metrics import Observation

    def read(options: Any) -> Iterable[Any]:
        with suppress(StillReading):
            for sample in answers.samples.get():
                if sample.name == name:
                    yield Observation(float(sample.value), dict(sample.labels))

    return read
