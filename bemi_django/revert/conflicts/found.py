"""What is found around the steps of a plan."""

from __future__ import annotations

from typing import NamedTuple

from bemi_django.log.live.live_tables import Name, Reference, Unique
from bemi_django.revert.draft import Draft, Identity
from bemi_django.revert.plan import Kind
from bemi_django.revert.wording import Sentence


class Holder(NamedTuple):
    """A row that holds a value which a step writes into a unique index; ``why`` says so."""

    draft: Draft
    unique: Unique
    holder: Identity
    why: Sentence
    is_plain: bool = True


class Parent(NamedTuple):
    """A step that writes a reference; ``parent`` is the row it refers to, or None if there is none."""

    draft: Draft
    reference: Reference
    parent: Identity | None


class Child(NamedTuple):
    """A row that refers to one which a step removes."""

    draft: Draft
    reference: Reference
    child: Identity


class Found(NamedTuple):
    """A conflict found for a step."""

    draft: Draft
    kind: Kind
    why: Sentence
    columns: tuple[str, ...]
    is_forcible: bool = False
    child: Name | None = None
