"""What the worker of a database works on, by the settings."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from django.utils.connection import ConnectionDoesNotExist

from bemi_django import conf, destinations
from bemi_django.exceptions import ReplicationError
from bemi_django.ingest.config import Divided, WorkerConfig
from bemi_django.ingest.selection.configured import configured_selection
from bemi_django.ingest.stitching.provenance import Provenance
from bemi_django.ingest.stitching.signatures import Signatures
from bemi_django.mask_rules import configured_masks
from bemi_django.schema.replication.slots import find_name, lost_names
from bemi_django.seals.configured import is_sealed
from bemi_django.signing_keys import configured_age, configured_keys
from bemi_django.sinks.addresses import ExportAddress
from bemi_django.sinks.configured import sink_address

logger = logging.getLogger(__name__)


def worker_config(database: str, slot: str | None = None) -> WorkerConfig:
    """Return what the worker of a database needs: connections, slot and publication, from the settings.

    Args:
        database: Alias of the source.
        slot: The name of the slot; by default the worker finds it when it has connected.
    """

    def ask() -> tuple[dict[str, Any], dict[str, Any]]:
        return conf.connection_parameters(database), conf.connection_parameters(conf.destination())

    # What fails is tried again at the next connection, the first one included.
    return WorkerConfig(
        {},
        {},
        slot or conf.slot(database) or "",
        conf.publication(),
        failover=conf.slot_failover(),
        ask=ask,
        largest_letter=conf.largest_dead_letter(),
        name_slot=None if slot else partial(_name_slot, database),
        selection=configured_selection(),
        masking=configured_masks(),
        is_sealed=is_sealed(),
        provenance=Provenance(conf.provenance(), Signatures(configured_keys(), configured_age())),
        divided=_divided(),
        ask_destination=_ask_destination,
    )


def _divided() -> Divided | None:
    division, name = destinations.division(), conf.destination()
    others = [alias for alias in destinations.aliases() if alias != name]
    asking = {alias: partial(conf.connection_parameters, alias) for alias in others}
    return Divided(name, division, asking) if others else None


def _ask_destination(alias: str) -> dict[str, Any]:
    try:
        return conf.connection_parameters(alias)
    except ConnectionDoesNotExist:
        raise ReplicationError(
            f"the queue has changes for the destination {alias}, which is no alias of DATABASES any more: "
            "add it again until it has them"
        ) from None


def config_of_sink(database: str, url: str | None) -> WorkerConfig:
    """Return what the worker of a database needs, which writes to a sink.

    Args:
        database: Alias of the source.
        url: The address of the sink; by default that of ``BEMI_SINK``, or else the log.

    Raises:
        ReplicationError: The address is not valid.
    """
    config, address = worker_config(database), sink_address(url)
    if isinstance(address, ExportAddress):
        # Seals are of the log.
        name_slot = partial(_name_export, database, address)
        return config._replace(export=address.export, slot="", name_slot=name_slot, is_sealed=False)
    return config._replace(queue=address)


def _name_export(database: str, address: ExportAddress, source: Any, log: Any) -> str:
    return address.slot(find_name(source, log, database))


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
