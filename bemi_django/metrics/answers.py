"""Answers to requests for metrics and to health probes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from django.db import DatabaseError, connections

from bemi_django import conf
from bemi_django.exceptions import BemiError
from bemi_django.metrics.recent import Recent, StillReading
from bemi_django.metrics.samples import DESCRIPTIONS, EVENTS, Sample, read_samples
from bemi_django.schema.database_names import database_option
from bemi_django.status.recording import problems_of, read_recording
from bemi_django.status.time_limits import time_limits

if TYPE_CHECKING:
    from prometheus_client import Metric

_TEXT = "text/plain; charset=utf-8"


class Answer(NamedTuple):
    """An answer to an HTTP request: its status, its content type and its body."""

    status: int
    content_type: str
    body: bytes


_STILL_READING = Answer(503, _TEXT, b"a server does not answer\n")


class Answers:
    """Answers for some databases, by default for all that are recorded.

    Attributes:
        samples: The samples that were read a moment ago.
    """

    def __init__(self, databases: Sequence[str] | None = None) -> None:
        self._databases = databases
        self.samples = Recent(lambda: list(read_samples(self._sources())))
        self._problems = Recent(lambda: list(self._unresolved()))

    def metrics(self, accept: str = "") -> Answer:
        """Return the metrics in the format that Prometheus reads.

        Args:
            accept: The ``Accept`` header of the request, which chooses between the text formats.

        Raises:
            ImportError: ``prometheus_client`` is not installed.
        """
        from prometheus_client.exposition import choose_encoder
        from prometheus_client.registry import Collector, CollectorRegistry

        class Samples(Collector):
            """What was read a moment ago."""

            def collect(collector) -> Iterable[Metric]:
                return _families(samples)

        try:
            samples = self.samples.get()
        except StillReading:
            return _STILL_READING
        registry = CollectorRegistry(auto_describe=False)
        registry.register(Samples())
        encode, content_type = choose_encoder(accept)
        return Answer(200, content_type, encode(registry))

    def health(self) -> Answer:
        """Return that the process works; a worker that cannot go on ends its process."""
        return Answer(200, _TEXT, b"ok\n")

    def readiness(self) -> Answer:
        """Return whether recording works, with status 503 if something has to be done.

        The answer does not say what it is: not everybody who may ask may know.
        """
        try:
            lines = self._problems.get()
        except StillReading:
            return _STILL_READING
        return Answer(503 if lines else 200, _TEXT, "".join(lines or ["ok\n"]).encode())

    def forget(self) -> None:
        """Read everything again when it is asked for next."""
        self.samples.forget()
        self._problems.forget()

    def _sources(self) -> Iterable[str]:
        return filter(conf.is_source, connections) if self._databases is None else self._databases

    def _unresolved(self) -> Iterator[str]:
        """Yield a line for each database that has problems."""
        for alias in self._sources():
            option = database_option(alias)
            try:
                with time_limits(alias):
                    count = len(list(problems_of(read_recording(alias))))
            except BemiError:
                count = 1
            except DatabaseError:
                # To another role, the status may have nothing to say.
                yield f"the status cannot be read from here: run 'manage.py bemi doctor{option}'\n"
                continue
            if count:
                yield f"{count} to be resolved: run 'manage.py bemi status{option}'\n"


#: The answers of the project's site.
of_all = Answers()


def _families(samples: list[Sample]) -> Iterable[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    for name, description in DESCRIPTIONS.items():
        of_name = [sample for sample in samples if sample.name == name]
        if of_name:
            kind = CounterMetricFamily if name == EVENTS else GaugeMetricFamily
            family = kind(name, description, labels=list(of_name[0].labels))
            for sample in of_name:
                family.add_metric(list(sample.labels.values()), float(sample.value))
            yield family
