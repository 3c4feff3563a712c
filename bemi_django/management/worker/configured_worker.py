"""What the worker of a database works on, by the settings."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from django.conf import settings

from bemi_django import conf
from bemi_django.exceptions import ReplicationError
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.selection.configured import configured_selection
from bemi_django.ingest.stitching.provenance import Provenance
from bemi_django.ingest.stitching.signatures import Signatures
from bemi_django.mask_rules import configured_masks
from bemi_django.schema.replication.slots import find_name, lost_names
from bemi_django.seals.configured import is_sealed
from bemi_django.signing_keys import configured_keys
from bemi_django.wire.queue_address import QueueAddress, parse

logger = logging.getLogger(__name__)


def worker_config(database: str, slot: str | None = None) -> WorkerConfig:
    """Return what the worker of a database needs: connections, slot and publication, from the settings.

    Args:
        database: Alias of the source.
        slot: The name of the slot; by default the worker finds it when it has connected.
    """

    def ask() -> tuple[dict[str, Any], dict[str, Any]]:
        return conf.connection_parameters(database), conf.connection_parameters(conf.destination())

    return WorkerConfig(
        *ask(),
        slot or conf.slot(database) or "",
        conf.publication(),
        failover=conf.slot_failover(),
        ask=ask,
        largest_letter=conf.largest_dead_letter(),
        name_slot=None if slot else partial(_name_slot, database),
        selection=configured_selection(),
        masking=configured_masks(),
        is_sealed=is_sealed(),
        provenance=Provenance(conf.provenance(), Signatures(configured_keys())),
    )


def queue_address(url: str | None) -> QueueAddress | None:
    """Return the address of a queue, given or from ``BEMI_SINK``; None if there is neither.

    Raises:
        ReplicationError: It is not valid.
    """
    url = url or getattr(settings, "BEMI_SINK", None)
    if not url:
        return None
    try:
        return parse(url)
    except ValueError as error:
        raise ReplicationError(str(error)) from None


def _name_slot(database: str, source: Any, log: Any) -> str:
    name, wanted = find_name(source, log, database), conf.slot(database)
    if wanted is not None and name != wanted:
        logger.info("the log goes on with the slot %s: BEMI_SLOT only names a new one", name)
    if lost := lost_names(source, log, name):
        logger.warning(
            "the log of the slot %s begins; it also has a log of %s, whose server had another identifier. If "
            "that was this server before pg_upgrade, stop, set BEMI_SLOT to that name, and run with "
            "--accept-gap",
            name,
            " and of ".join(lost),
        )
    return name
