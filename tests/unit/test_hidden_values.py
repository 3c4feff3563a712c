"""Keys and passwords are in no ``repr()``, as which reports of errors show the locals of frames."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from django.db import connections

from bemi_django import conf, mask_rules, signing_keys
from bemi_django.encryption.master_keys import MasterKeys
from bemi_django.erasure.plan import ErasurePlan
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.stitching.provenance import Provenance
from bemi_django.ingest.stitching.signatures import Signatures
from bemi_django.seals import configured
from bemi_django.secrecy.hidden import HiddenBytes, HiddenText
from bemi_django.sinks import addresses
from bemi_django.wire import queue_address

MARK = "zqHidden-0123456789"


def test_nothing_that_holds_them_shows_them(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.BEMI_MASK_KEY = settings.BEMI_ENCRYPTION_KEY = MARK
    settings.BEMI_CONTEXT_KEYS = [MARK.encode(), lambda: MARK]
    settings.BEMI_ARCHIVE, settings.BEMI_METRICS_TOKEN = f"s3://user:{MARK}@shop/archive", MARK
    settings.BEMI_ANCHORS = [f"https://example.org/?token={MARK}"]
    given = {"password": MARK, "sslpassword": MARK, "user": "shop"}
    monkeypatch.setattr(type(connections["default"]), "get_connection_params", lambda wrapper: given)
    parameters = conf.connection_parameters("default")
    assert parameters["password"] == parameters["sslpassword"] == MARK
    rules, keys = mask_rules.configured_masks(), signing_keys.configured_keys()
    assert rules.key == MARK.encode() and keys == (MARK.encode(),) * 2
    address = queue_address.parse(f"nats://user:{MARK}@one,two:4333/shop")
    assert address.servers[0] == f"nats://user:{MARK}@one"
    held = [
        WorkerConfig(
            parameters,
            parameters,
            "slot",
            "bemi",
            masking=rules,
            provenance=Provenance(True, Signatures(keys)),
            queue=address,
        ),
        ErasurePlan("default", {}, [], set(), rules.key, []),
        mask_rules.configured_masks().encryption_keys,
        MasterKeys(rules.encryption_keys),
        vars(rules),
        conf.archive(),
        conf.metrics_token(),
        configured.anchors(),
        addresses.parse(f"https://example.org/{MARK}"),
    ]
    for each in held:
        assert MARK not in repr(each) and MARK not in f"{each!r}"


def test_they_are_used_as_any_text_and_bytes() -> None:
    text, key = HiddenText("secret"), HiddenBytes(b"secret")
    assert (str(text), f"{text}", text + "s", bytes(key), key + b"s") == (
        "secret",
        "secret",
        "secrets",
        b"secret",
        b"secrets",
    )
    assert pickle.loads(pickle.dumps((text, key))) == ("secret", b"secret")
