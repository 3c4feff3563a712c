"""Tell from a name alone whether what it names is a secret: the rules that apply by default."""

from __future__ import annotations

import re
from functools import lru_cache

#: What secrets are called. A name means one if it is such a word or ends with it: ``password`` and
#: ``reset_token``, but not ``password_changed_at`` or ``tokens_used``.
WORDS = (
    "access_key", "access_keys", "api_key", "api_keys", "apikey", "auth_key", "authorization", "backup_code",
    "backup_codes", "bank_pin", "card_number",
    "cookie", "cookies", "credential", "credentials", "csrfmiddlewaretoken", "cvc", "cvv", "cvv2",
    "encryption_key", "jwt", "mfa_code", "otp", "otp_code", "passcode", "passphrase", "passwd",
    "password", "password1", "password2", "password_confirm", "password_confirmation", "passwords",
    "pin_code", "private_key", "private_keys", "pwd", "recovery_code", "recovery_codes",
    "secret", "secret_key", "secrets", "session_data", "session_key", "sessionid", "signing_key",
    "social_security_number", "ssh_key", "ssn", "token", "totp",
)  # fmt: skip
_LONGEST = {max(word.split("_"), key=len) for word in WORDS}
#: In small letters, any name that means a secret has one of these in it, however it is written.
TELLING = tuple(sorted(one for one in _LONGEST if not any(other in one for other in _LONGEST - {one})))
#: Columns whose names do not say what is in them.
COLUMNS = ("authtoken_token.key", "otp_*.key")

# A name that begins so says something of the secret, and one that ends so holds what was made of it.
_ABOUT = r"(?!(?:is|has|had|needs|requires|use|uses|no)_)"
_MADE = r"(?:_(?:hash|hashed|digest|encrypted|salt))?"
_PATTERN = rf"{_ABOUT}(?:.*_)?(?:{'|'.join(WORDS)}){_MADE}"
_SECRET = re.compile(_PATTERN, re.DOTALL)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_NO_WORD = re.compile(r"[\W_]+")
# Without backslashes, which a setting of the session may have escape something.
_SQL_WORDS = """pg_catalog.btrim(pg_catalog.regexp_replace({0}, '[ -/:-@[-`{{-~]+', '_', 'g'), '_')"""
_SQL_CAMEL = (
    "pg_catalog.regexp_replace({0}, '(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])'::pg_catalog.text, "
    "'_'::pg_catalog.text, 'g'::pg_catalog.text)"
)
#: SQL for what :func:`is_secret` tells of a name, ``{0}``, of the type text.
SQL = " OR ".join(
    f"pg_catalog.lower({_SQL_WORDS.format(name)}) OPERATOR(pg_catalog.~) '^{_PATTERN}$'::pg_catalog.text"
    for name in ("{0}", _SQL_CAMEL)
)


# Characters that are read of a name, from its end, and those of the longest one that is remembered.
_LONGEST_READ, _LONGEST_REMEMBERED = 200, 200


def is_secret(name: str) -> bool:
    """Return whether a column, a key or an option with this name holds a secret.

    Args:
        name: In any usual form: ``api_key``, ``apiKey``, ``API-Key``.
    """
    return _remembered(name) if len(name) <= _LONGEST_REMEMBERED else _means_secret(name)


def _means_secret(name: str) -> bool:
    # "apiKey" is two words, and "passWord" is one.
    return any(_is_secret(words) for words in (_CAMEL.sub("_", name), name))


_remembered = lru_cache(maxsize=8192)(_means_secret)


def _is_secret(name: str) -> bool:
    words = _NO_WORD.sub("_", name).strip("_").lower()
    return _SECRET.fullmatch(words[-_LONGEST_READ:]) is not None
