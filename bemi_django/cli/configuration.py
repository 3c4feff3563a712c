"""Where the command ``bemi`` finds its configuration.

In this order: the command line, environment variables, the table ``[tool.bemi]`` of the nearest
``pyproject.toml``. A setting has the same name everywhere: ``--source``, ``BEMI_SOURCE``, ``source``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bemi_django.integrations import pyproject
from bemi_django.wire import table_name

#: The settings that a project without Django may need, beside the two databases, with their types.
SETTINGS: dict[str, type] = {
    "accept_gap": bool,
    "anchor_every": int,
    "anchors": list,
    "append_only": bool,
    "archive": str,
    "bookkeeping_tables": list,
    "conditions": dict,
    "context_age": int,
    "context_keys": list,
    "encryption_key": list,
    "exclude": list,
    "ignore_columns": list,
    "ignore_unchanged": bool,
    "include": list,
    "index_values": bool,
    "key_store": str,
    "largest_dead_letter": int,
    "legal_hold": list,
    "mask": dict,
    "mask_key": str,
    "provenance": bool,
    "prune_at": str,
    "publication": str,
    "renamed_columns": dict,
    "retention": dict,
    "sink": str,
    "sink_attempts": int,
    "sink_secret": str,
    "slot": str,
    "slot_failover": bool,
    "table": str,
    "tamper_evidence": bool,
    "version_columns": list,
    "wal_disk": int,
    "webhook_http": bool,
    "webhook_networks": list,
}
#: Settings whose values no message may show.
_SECRETS = ("context_keys", "encryption_key", "mask_key", "sink_secret")
_DATABASES = ("source", "destination")
_YES = ("1", "true", "yes", "on")
_NO = ("", "0", "false", "no", "off")


class ConfigurationError(Exception):
    """The configuration is incomplete or not valid; the message says how to correct it."""


class Configuration(NamedTuple):
    """The configuration of one run.

    ``source`` and ``destination`` are connection strings; without a destination, the source holds the log.
    ``settings`` are values by the names of :data:`SETTINGS`. ``django_settings`` is the module of a Django
    project that is to be used instead of all this.
    """

    source: str = ""
    destination: str | None = None
    settings: Mapping[str, Any] = {}
    django_settings: str | None = None


def add_database_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--source`` and ``--destination``."""
    parser.add_argument(
        "--source",
        metavar="URL",
        help="database whose changes are recorded (default: $BEMI_SOURCE, source in [tool.bemi] of "
        "pyproject.toml, $DATABASE_URL)",
    )
    parser.add_argument(
        "--destination",
        metavar="URL",
        help="database that holds the log (default: $BEMI_DESTINATION, destination in [tool.bemi], "
        "the source)",
    )


def configuration_of(
    arguments: Sequence[str], environment: Mapping[str, str], directory: Path | None = None
) -> tuple[Configuration, list[str]]:
    """Return the configuration, and the arguments that are left.

    Args:
        arguments: Arguments of the command line.
        environment: Environment variables.
        directory: Where the search for ``pyproject.toml`` begins (default: the current directory).

    Raises:
        ConfigurationError: If no source is given, or a value has the wrong type.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    add_database_arguments(parser)
    given, rest = parser.parse_known_args(arguments)
    file, table = _table(directory or Path.cwd())
    found = {name: _text(name, given, environment, table) for name in _DATABASES}
    django_settings = environment.get("DJANGO_SETTINGS_MODULE")
    if django_settings and not any(found.values()):
        return Configuration(django_settings=django_settings), rest
    unknown = set(table) - set(SETTINGS) - set(_DATABASES)
    if unknown:
        known = ", ".join(sorted([*SETTINGS, *_DATABASES]))
        raise ConfigurationError(f"{file}: [tool.bemi] has no {min(unknown)!r}: use one of {known}")
    settings = {}
    for name, kind in SETTINGS.items():
        variable = f"BEMI_{name.upper()}"
        if variable in environment:
            settings[name] = _parsed(variable, environment[variable], kind)
        elif name in table:
            settings[name] = _checked(f"{file}: {name}", table[name], kind)
    if "table" in settings:
        _check_table(settings["table"])
    source = found["source"] or environment.get("DATABASE_URL")
    if not source and not _is_only_help(rest):
        raise ConfigurationError(
            "no source: give --source postgresql://..., set BEMI_SOURCE or DATABASE_URL, or add source to "
            "[tool.bemi] in pyproject.toml"
        )
    return Configuration(source or "", found["destination"] or None, settings), rest


_NAMES = {bool: "boolean", dict: "table", int: "number", list: "list", str: "string"}


def _is_only_help(arguments: Sequence[str]) -> bool:
    return not arguments or not {"-h", "--help", "--version"}.isdisjoint(arguments)


def _table(directory: Path) -> tuple[Path, dict[str, Any]]:
    try:
        return pyproject.read(directory)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def _check_table(name: object) -> None:
    try:
        table_name.parse(name)
    except ValueError as error:
        raise ConfigurationError(f"table is {name!r}: {error}") from None


def _text(
    name: str, given: argparse.Namespace, environment: Mapping[str, str], table: Mapping[str, Any]
) -> str:
    found = getattr(given, name) or environment.get(f"BEMI_{name.upper()}") or table.get(name) or ""
    return str(_checked(name, found, str))


def _checked(name: str, value: Any, kind: type) -> Any:
    if not isinstance(value, kind) or kind is int and isinstance(value, bool):
        shown = f"a {type(value).__name__}" if name.endswith(_SECRETS) else repr(value)
        raise ConfigurationError(f"{name} is {shown}: it must be a {_NAMES[kind]}")
    return value


def _parsed(variable: str, text: str, kind: type) -> Any:
    if kind is bool:
        if text.lower() not in _YES + _NO:
            raise ConfigurationError(f"{variable} is {text!r}: use true or false")
        return text.lower() in _YES
    if kind is int:
        if not text.isdecimal():
            raise ConfigurationError(f"{variable} is {text!r}: it must be a number")
        return int(text)
    if kind is list:
        return [item.strip() for item in text.split(",") if item.strip()]
    if kind is dict:
        try:
            return _checked(variable, json.loads(text), dict)
        except ValueError as error:
            raise ConfigurationError(f"{variable} is not valid JSON: {error}") from error
    return text
