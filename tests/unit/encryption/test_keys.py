"""Values are encrypted with the key of a subject, and that with the key of the project."""

from __future__ import annotations

import uuid

import pytest

from bemi_django.encryption.column_ciphers import ciphers_of
from bemi_django.encryption.master_keys import MasterKeys
from bemi_django.encryption.subject_key import PREFIX, SubjectKey, SubjectRow, new_key, parse
from bemi_django.masking.actions import Encryption
from bemi_django.masking.rules import ColumnMask

PLACE = (b"db", b"public", b"customer", b"email")
ANN = SubjectRow("db", "public", "customer", "1")
OLD, NEW = b"an old key of 16 bytes or more", b"a new key of 16 bytes or more"


def key() -> SubjectKey:
    return SubjectKey(str(uuid.uuid4()), new_key())


@pytest.mark.parametrize("value", [b'""', b'"Ann"', b"1.50", b'{"a": [1, null]}', '"Ä\\n😀"'.encode()])
def test_a_value_comes_back_byte_for_byte(value: bytes) -> None:
    one = key()
    parsed = parse(one.encrypt(value, PLACE)[1:-1].decode())
    assert parsed is not None
    assert parsed[0] == one.number
    assert one.decrypt(parsed[1], PLACE) == value


def test_equal_values_have_equal_texts_within_a_subject_and_a_column_only() -> None:
    one, other = key(), key()
    text = one.encrypt(b'"Ann"', PLACE)
    assert text == one.encrypt(b'"Ann"', PLACE)
    elsewhere = (*PLACE[:3], b"name")
    assert len({text, one.encrypt(b'"Ann"', elsewhere), other.encrypt(b'"Ann"', PLACE)}) == 3


def test_a_text_that_was_altered_or_moved_is_not_decrypted() -> None:
    one = key()
    parsed = parse(one.encrypt(b'"Ann"', PLACE)[1:-1].decode())
    assert parsed is not None
    altered = bytes([parsed[1][0] ^ 1]) + parsed[1][1:]
    assert one.decrypt(altered, PLACE) is None
    assert one.decrypt(parsed[1], (*PLACE[:3], b"name")) is None
    assert key().decrypt(parsed[1], PLACE) is None
    assert one.decrypt(b"", PLACE) is None


@pytest.mark.parametrize(
    "value", [None, 5, "Ann", PREFIX, f"{PREFIX}1", f"{PREFIX}1:a", ["encrypted:1:aaaa"]]
)
def test_other_values_are_not_taken_for_encrypted_ones(value: object) -> None:
    assert parse(value) is None


def test_a_key_of_a_subject_is_for_this_subject_only() -> None:
    number, secret = str(uuid.uuid4()), new_key()
    masters = MasterKeys([OLD])
    wrapped = masters.wrap(secret, number, ANN)
    assert secret not in wrapped
    assert masters.unwrap(wrapped, number, ANN) == secret
    assert masters.unwrap(wrapped, number, ANN._replace(key="2")) is None
    assert masters.unwrap(wrapped, str(uuid.uuid4()), ANN) is None
    assert masters.unwrap(b"", number, ANN) is None


def test_former_keys_of_the_project_still_decrypt() -> None:
    number, secret = str(uuid.uuid4()), new_key()
    wrapped = MasterKeys([OLD]).wrap(secret, number, ANN)
    assert MasterKeys([NEW, OLD]).unwrap(wrapped, number, ANN) == secret
    assert MasterKeys([NEW]).unwrap(wrapped, number, ANN) is None
    again = MasterKeys([NEW, OLD]).wrap(secret, number, ANN)
    assert MasterKeys([NEW]).unwrap(again, number, ANN) == secret


def test_without_keys_nothing_is_kept_of_a_value() -> None:
    masks = {"email": ColumnMask(None, encryption=Encryption())}
    (cipher,) = ciphers_of(masks, ("id", "email"), "db", ("public", "customer"), None)
    assert (cipher.column, cipher.by) == (1, None)
    assert cipher.encrypt(b'"Ann"', b"1") == b"null"
