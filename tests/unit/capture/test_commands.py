from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from django.core.management.base import BaseCommand, CommandParser

from bemi_django.capture.hooks import commands
from bemi_django.capture.hooks.commands import command_context


class Command(BaseCommand):
    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("labels", nargs="*")
        parser.add_argument("--api-key")
        parser.add_argument("--days", type=int, default=30)
        parser.add_argument("--no-input", action="store_false", dest="interactive")
        parser.add_argument("--dry-run", action="store_true")


@pytest.mark.parametrize(
    ("args", "options", "arguments"),
    [
        ((), {"verbosity": 3, "stdout": object(), "skip_checks": True, "settings": "mysite.settings"}, None),
        ((), {"days": 30, "interactive": True, "dry_run": False, "labels": [], "api_key": None}, None),
        ((), {"days": 0, "interactive": False}, {"days": 0, "interactive": False}),
        ((), {"until_current": False, "database": "default"}, {"database": "default"}),
        (("todos", "auth"), {}, {"args": ["todos", "auth"]}),
        ((), {"labels": ["a", 1], "since": date(2024, 1, 2)}, {"labels": ["a", 1], "since": "2024-01-02"}),
        ((), {"api_key": "abc", "PASSWORD": "abc", "token_file": "abc", "passphrase": ["abc"]},
         {"api_key": "***", "PASSWORD": "***", "token_file": "***", "passphrase": "***"}),
        ((), {"url": "postgresql://ann:s3cret@db/x", "labels": ["https://u:p@h/"], "plain": "http://h/a:b@c"},
         {"url": "postgresql://ann:***@db/x", "labels": ["https://u:***@h/"], "plain": "http://h/a:b@c"}),
    ],
    ids=["how it runs", "defaults", "given", "subcommand", "labels", "types", "secrets", "urls"],
)  # fmt: skip
def test_a_command_is_its_name_and_the_arguments_that_were_given(
    args: tuple[str, ...], options: dict[str, Any], arguments: dict[str, Any] | None
) -> None:
    expected = {"command": "test_commands"} | ({} if arguments is None else {"arguments": arguments})
    assert command_context(Command(), args, options) == expected


def test_to_install_it_again_changes_nothing() -> None:
    execute = BaseCommand.execute
    commands.install()
    assert BaseCommand.execute is execute
