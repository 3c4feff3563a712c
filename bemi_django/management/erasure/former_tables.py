"""What the log has of an object under former names of its tables."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from functools import reduce
from operator import or_

from django.db.models import Q

from bemi_django import conf
from bemi_django.erasure.objects import target_of_key
from bemi_django.erasure.targets.shared_rows import keys_of
from bemi_django.erasure.targets.target import Target
from bemi_django.log.conditions import in_table
from bemi_django.log.places import Place
from bemi_django.models import Change
from bemi_django.retention.former_names import FormerName, former_names
from bemi_django.schema.search_path import closed_cursor
from bemi_django.schema.sql import quote


def said_of_former_tables(targets: Iterable[Target], alias: str, command: str) -> Iterator[str]:
    """Yield a line for each former name of a table under which the log has changes of the same keys.

    Args:
        targets: The changes that are known to be of the object.
        alias: Alias of the database of the tables.
        command: The command by which the others are reached, without the name of an object.
    """
    own = list(targets)
    # What is followed is among them.
    followed = reduce(or_, (one.condition for one in own if one.present), Q(pk__in=[]))
    log = Change.objects.using(conf.destination()).order_by("primary_key").exclude(followed)
    for target in own:
        if target.present is not None:
            continue
        place = target.place
        with closed_cursor(alias) as cursor:
            names = former_names(cursor, [(place.schema, place.table)])
        for name in names:
            former = Place(place.database, name.schema, name.table)
            keys = log.filter(in_table(former), primary_key__in=sorted(keys_of(target)))
            for key in sorted(filter(None, set(keys.values_list("primary_key", flat=True)))):
                # Unless it was erased.
                if log.filter(target_of_key(former, key, alias).left).exists():
                    row = shlex.quote(f"{quote(former.schema)}.{quote(former.table)}:{key}")
                    remedy = _remedy(name, f"manage.py {command} {row}")
                    yield (
                        f"{target.name}, or a partition of it, had the name {former.schema}.{former.table}, "
                        f"and what the log has under that name is not among this: {remedy}"
                    )


def _remedy(name: FormerName, command: str) -> str:
    if name.is_shared:
        return (
            f"another table had it as well; look whose it is, and if it is the object's, run {command}, too"
        )
    return f"run {command}, too"
