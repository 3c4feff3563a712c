"""The pages on queues, Debezium and sinks name commands, options and settings that exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest

from bemi_django.management.commands.bemi import Command
from bemi_django.wire import queue_address
from tests.support.pages import blocks
from tests.support.paths import ROOT

PAGES = ("scaling", "sinks", "debezium")


def commands(page: str) -> Iterator[list[str]]:
    """The arguments of each ``manage.py bemi`` in the examples of a page."""
    for line in "\n".join(blocks("sh", page)).splitlines():
        for part in line.split(" | "):
            _, name, arguments = part.partition("manage.py bemi ")
            if name:
                yield shlex.split(arguments, comments=True)


@pytest.mark.parametrize("page", PAGES)
def test_commands_of_examples_exist(page: str) -> None:
    parser = Command().create_parser("manage.py", "bemi")
    found = list(commands(page))
    assert found
    for arguments in found:
        assert parser.parse_args(arguments).subcommand == arguments[0]


@pytest.mark.parametrize("page", PAGES)
def test_options_and_settings_of_the_text_exist(page: str) -> None:
    text = (ROOT / f"docs/{page}.md").read_text()
    source = "".join(path.read_text() for path in (ROOT / "bemi_django").rglob("*.py"))
    code = re.findall(r"`([^`\n]+)`", text)
    options = {option for one in code for option in re.findall(r"(?<!\S)--[a-z-]+", one)}
    assert options
    assert [option for option in sorted(options) if f'"{option}"' not in source] == []
    settings = set(re.findall(r"BEMI_[A-Z_]+", text))
    assert settings
    assert [name for name in sorted(settings) if f'"{name}"' not in source] == []


def test_the_options_of_an_address_exist() -> None:
    text = (ROOT / "docs/scaling.md").read_text()
    table = text.partition("| option | default | |")[2].partition("\n\n")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \|(?: (\w+))? \|", table, re.MULTILINE))
    given = {"lanes": "2", "replicas": "3", "keep": "7d", "sync": "always"}
    assert rows.keys() == given.keys()
    query = "&".join(f"{name}={value}" for name, value in given.items())
    address = queue_address.parse(f"nats://localhost/bemi?{query}")
    assert (address.lanes, address.replicas, address.keep, address.is_synced) == (2, 3, 7 * 86400, True)
    default = queue_address.parse("nats://localhost")
    assert (str(default.lanes), str(default.replicas)) == (rows["lanes"], rows["replicas"])
