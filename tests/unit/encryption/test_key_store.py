"""A store of keys of a project may fail, hang, forget and answer nonsense."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from typing import Any

import pytest

from bemi_django.encryption import key_store
from bemi_django.encryption.key_store import GuardedStore
from bemi_django.encryption.subject_key import KEY_BYTES
from bemi_django.exceptions import BemiError, KeyStoreUnavailable
from bemi_django.ingest.error_advice import is_lasting, raise_unless_of_message
from bemi_django.masking.settings import rules_of, store_of
from tests.support.polling import DEADLINE

KEY = b"a key of a store, of 32 bytes..."


class Store:
    """Has keys, and counts what it is asked for."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {}
        self.asked: list[str] = []
        self.failure: BaseException | None = None

    def create(self, number: str) -> bytes:
        self.keys[number] = KEY
        return KEY

    def get(self, numbers: Collection[str]) -> Mapping[str, bytes]:
        if self.failure is not None:
            raise self.failure
        self.asked += numbers
        return {number: self.keys[number] for number in numbers if number in self.keys}

    def forget(self, numbers: Collection[str]) -> None:
        for number in numbers:
            self.keys.pop(number, None)


def test_each_id_has_a_key_of_its_own_which_stays() -> None:
    store = Store()
    guarded = GuardedStore(lambda: store)
    one, other = guarded.create("1"), guarded.create("2")
    assert len(one) == KEY_BYTES and one != other
    assert GuardedStore(lambda: store).get(["1", "2", "3"]) == {"1": one, "2": other}


def test_keys_are_remembered_for_some_time_and_not_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    store, now = Store(), 0.0
    guarded = GuardedStore(lambda: store, clock=lambda: now)
    guarded.create("1")
    guarded.get(["1"])
    assert store.asked == []
    now = key_store.LIFETIME
    assert guarded.get(["1"]) and guarded.get(["1"])
    assert store.asked == ["1"]
    guarded.forget(["1"])
    assert guarded.get(["1"]) == {}
    monkeypatch.setattr(key_store, "REMEMBERED", 3)
    for number in range(10):
        guarded.create(str(number))
        assert len(guarded._known) <= 3


@pytest.mark.parametrize("failure", [ConnectionError("password=hunter2"), SystemExit(1), KeyError("1")])
def test_a_failure_is_temporary_and_tells_no_secret(failure: BaseException) -> None:
    store = Store()
    store.failure = failure
    with pytest.raises(KeyStoreUnavailable) as caught:
        GuardedStore(lambda: store).get(["1"])
    assert str(caught.value) == f"get() of BEMI_KEY_STORE has raised {type(failure).__name__}"
    assert not is_lasting(caught.value)
    # It is not the fault of the row that was to be encrypted.
    with pytest.raises(KeyStoreUnavailable):
        raise_unless_of_message(caught.value)


def test_one_that_cannot_be_made_is_unavailable_until_it_can() -> None:
    made: list[Store] = []

    def make() -> Store:
        made.append(Store())
        if len(made) == 1:
            raise OSError("no network")
        return made[-1]

    guarded = GuardedStore(make)
    with pytest.raises(KeyStoreUnavailable, match="OSError"):
        guarded.create("1")
    assert guarded.create("1") == guarded.get(["1"])["1"]
    assert len(made) == 2


def test_one_that_hangs_is_given_up_and_made_anew() -> None:
    release = threading.Event()

    class Hanging(Store):
        """Hangs once."""

        def create(self, number: str) -> bytes:
            release.wait()
            return super().create(number)

    stores: list[Store] = [Store(), Hanging()]
    now = 0.0
    guarded = GuardedStore(stores.pop, patience=0.05, clock=lambda: now)
    try:
        with pytest.raises(KeyStoreUnavailable, match=r"create\(\) of BEMI_KEY_STORE has not returned"):
            guarded.create("1")
        now, guarded._patience = key_store.PAUSE, DEADLINE
        assert guarded.create("2")
    finally:
        release.set()


def test_one_that_hangs_for_ever_takes_few_threads() -> None:
    release, now = threading.Event(), 0.0
    before = set(threading.enumerate())

    class Hanging(Store):
        """Hangs until it is let go."""

        def get(self, numbers: Collection[str]) -> Mapping[str, bytes]:
            release.wait()
            return dict.fromkeys(numbers, KEY)

    guarded = GuardedStore(Hanging, patience=0.01, clock=lambda: now)
    try:
        for _ in range(20):
            with pytest.raises(KeyStoreUnavailable):
                guarded.get(["1"])
        # Those of other tests may end meanwhile.
        assert len(set(threading.enumerate()) - before) == 1
        for _ in range(20):
            now += key_store.PAUSE
            with pytest.raises(KeyStoreUnavailable):
                guarded.get(["1"])
        assert len(set(threading.enumerate()) - before) == key_store.MOST_HANGING
    finally:
        release.set()
    for thread in guarded._hanging:
        thread.join()
    guarded._patience = DEADLINE
    assert guarded.get(["1"])


def test_a_key_that_another_thread_forgets_meanwhile_is_asked_for() -> None:
    class Forgetting(dict[str, Any]):
        def __contains__(self, number: object) -> bool:
            is_known = super().__contains__(number)
            self.clear()
            return is_known

    guarded = GuardedStore(Store)
    key = guarded.create("1")
    guarded._known = Forgetting(guarded._known)
    assert guarded.get(["1"]) == {"1": key}


@pytest.mark.parametrize("key", [b"too short", "a text is no key, how long it is", 5])
def test_what_is_no_key_stops_the_worker(key: object) -> None:
    store = Store()
    store.keys["1"] = key
    with pytest.raises(BemiError, match="no key") as caught:
        GuardedStore(lambda: store).get(["1"])
    assert is_lasting(caught.value)


def test_an_answer_that_is_no_mapping_stops_the_worker() -> None:
    class Odd(Store):
        """Returns one key."""

        def get(self, numbers: Collection[str]) -> Any:
            return KEY

    with pytest.raises(BemiError, match="bytes, not a mapping"):
        GuardedStore(Odd).get(["1"])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("tests.unit.encryption.test_key_store.Nothing", "cannot be imported"),
        ("vault", "str is no class or function"),
        (5, "int is no class or function"),
        (dict, r"dict has no method create\(\)"),
    ],
)
def test_a_wrong_setting_is_said_at_start(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rules_of({}, None, store=value)


def test_a_store_is_not_made_before_it_is_needed() -> None:
    assert store_of(f"{__name__}.Store") is Store
    assert store_of(None) is None
    assert rules_of({}, None, store=lambda: 1 / 0).key_store is not None
