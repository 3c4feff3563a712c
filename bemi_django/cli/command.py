"""Run a subcommand of ``manage.py bemi`` under the name ``bemi``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, TextIO

from django.core.management.base import CommandError, CommandParser, OutputWrapper
from django.db import connections

from bemi_django.cli.configuration import Configuration, add_database_arguments
from bemi_django.management.arguments import add_standalone_subcommands
from bemi_django.management.commands.bemi import Command

_RENAMED = {
    "manage.py migrate bemi_django' (--database)": "bemi install'",
    "manage.py migrate bemi_django": "bemi install",
    "manage.py migrate' there (--database)": "bemi install'",
    "manage.py bemi": "bemi",
}


class ProgramOfProject(Command):
    """``manage.py bemi`` as a program of its own, for a Django project."""

    def add_arguments(self, parser: CommandParser) -> None:
        """Add all subcommands."""
        parser.prog = "bemi"
        super().add_arguments(parser)


class StandaloneProgram(Command):
    """``manage.py bemi`` as a program of its own, for a project without Django."""

    # It does not know the migrations of a Django project that uses the same database.
    installers = ("bemi",)
    suppressed_base_arguments = {
        "--force-color", "--no-color", "--pythonpath", "--settings", "--skip-checks", "--traceback",
        "--verbosity", "--version",
    }  # fmt: skip

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the subcommands that need no models, with ``--source`` and ``--destination``."""
        parser.prog = "bemi"
        add_standalone_subcommands(parser, add_database_arguments)
        self._parser = parser


class _Renaming:
    """An output on which messages name the commands as they are called here."""

    def __init__(self, output: TextIO) -> None:
        self._output = output

    def write(self, text: str) -> int:
        return self._output.write(renamed(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._output, name)


def run(arguments: Sequence[str], configuration: Configuration) -> None:
    """Parse the arguments and run the subcommand.

    Args:
        arguments: Arguments of the command line, without those of the configuration.
        configuration: Says whether a Django project is used.

    Raises:
        SystemExit: On an error, with its message.
    """
    command = ProgramOfProject() if configuration.django_settings else StandaloneProgram()
    # Arguments that are wrong end the program with the usage.
    command._called_from_command_line = True  # type: ignore[union-attr]
    command.stdout = OutputWrapper(_Renaming(sys.stdout))  # type: ignore[arg-type]
    parser = command.create_parser("bemi", "")
    options = vars(parser.parse_args(list(arguments)))
    try:
        command.execute(*options.pop("args", ()), **options)
    except CommandError as error:
        command.stderr.write(f"bemi: {renamed(str(error))}")
        sys.exit(error.returncode)
    finally:
        connections.close_all()


def renamed(text: str) -> str:
    """Return a message with the commands as they are called without Django.

    Args:
        text: A message that may name commands of ``manage.py``.
    """
    for name, standalone in _RENAMED.items():
        text = text.replace(name, standalone)
    return text
