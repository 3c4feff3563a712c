"""The command ``bemi``, for projects without Django.

It configures Django itself, from the command line, the environment and ``pyproject.toml``, and then runs the
subcommands of ``manage.py bemi``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from bemi_django.management.subcommand import INTERRUPTED


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command ``bemi``.

    Args:
        arguments: Arguments of the command line, without the name of the command (default: ``sys.argv``).

    Raises:
        SystemExit: With status 1 and one line on an error, with status 2 and the usage on wrong arguments,
            with status 130 if it is interrupted.
    """
    try:
        _run(arguments)
    except KeyboardInterrupt:
        # While the project is loaded or checked; a command that has begun says it itself.
        sys.stderr.write("bemi: interrupted: the same command can be run again\n")
        sys.exit(INTERRUPTED)


def _run(arguments: Sequence[str] | None) -> None:
    from bemi_django.cli.configuration import ConfigurationError, configuration_of
    from bemi_django.cli.project import configure

    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        configuration, rest = configuration_of(given, os.environ)
    except ConfigurationError as error:
        sys.exit(f"bemi: {error}")
    configure(configuration)
    # Imports models, so Django has to be configured before.
    from bemi_django.cli.command import run

    run(rest, configuration)
