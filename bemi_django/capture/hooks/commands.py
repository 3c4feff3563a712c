"""Record the name and arguments of a management command with its writes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import Any

from django.core.management.base import BaseCommand

from bemi_django.capture.context import process_context, provided_context
from bemi_django.capture.run_ids import new_id
from bemi_django.masking.words import is_secret

# An option that is only about a secret, such as a path, is masked as well.
_SECRET = re.compile(r"pass(?:word|wd|phrase)|token|secret|key|credential", re.IGNORECASE)
_PASSWORD_IN_URL = re.compile(r"(?<=://)([^/\s:@]*):[^/\s@]*@")
_ASSIGNED = re.compile(r"(?P<name>[\w.-]+)(?P<sign>\s*[=:]\s*)(?P<value>(?!//).+)", re.DOTALL)
_MASK = "***"
# Commands whose options hold code, in which anything may stand.
_CODE = {"dbshell": "parameters", "shell": "command", "shell_plus": "command"}
# Options that control how a command runs and what it prints, not what it does.
_UNRECORDED = frozenset(
    (
        "force_color",
        "no_color",
        "pythonpath",
        "settings",
        "skip_checks",
        "stderr",
        "stdout",
        "traceback",
        "verbosity",
    )
)


def install() -> None:
    """Wrap ``BaseCommand.execute``, unless it is wrapped already.

    Both ``manage.py`` and ``call_command()`` call it, with parsed arguments. There, unlike in ``sys.argv``,
    a secret can be recognised by the name of its option.
    """
    execute = BaseCommand.execute
    if not hasattr(execute, "_bemi_wraps"):
        BaseCommand.execute = _with_context(execute)  # type: ignore[method-assign]


def command_context(
    command: BaseCommand, args: tuple[Any, ...], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the context of a command.

    Args:
        command: The command.
        args: Its positional arguments.
        options: Its parsed options.

    Returns:
        ``command``, and the ``arguments`` that differ from their defaults, with secrets masked.
    """
    name = type(command).__module__.rpartition(".")[2]
    parser = command.create_parser("manage.py", name)
    arguments = {
        key: _MASK if _CODE.get(name) == key else _masked(key, value)
        for key, value in options.items()
        if key not in _UNRECORDED and _is_given(value, parser.get_default(key))
    }
    if args:
        arguments["args"] = _masked("args", list(args))
    return {"command": name, **({"arguments": arguments} if arguments else {})}


def _with_context(execute: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(execute)
    def wrapped(self: BaseCommand, *args: Any, **options: Any) -> Any:
        if _is_no_context(type(self).__module__):
            return execute(self, *args, **options)
        # The command for which the process was started is the context of its other threads, too.
        is_process = getattr(self, "_called_from_command_line", False)
        enter = process_context if is_process else provided_context
        with enter(partial(_context_of_run, self, args, options, new_id())):
            return execute(self, *args, **options)

    wrapped._bemi_wraps = execute  # type: ignore[attr-defined]
    return wrapped


def _context_of_run(
    command: BaseCommand, args: tuple[Any, ...], options: Mapping[str, Any], run: str
) -> dict[str, Any]:
    return {**command_context(command, args, options), "command_id": run}


def _is_no_context(module: str) -> bool:
    # Commands of this package maintain the log. Tests do what requests and tasks do, under any runner.
    return module.startswith("bemi_django.") or module.rpartition(".")[2] == "test"


def _is_given(value: Any, default: Any) -> bool:
    # The parser does not have the defaults of subcommands.
    return value != default and value not in (None, []) and not (value is False and default is None)


def _masked(name: str, value: Any) -> Any:
    if _SECRET.search(name):
        return _MASK
    if isinstance(value, (list, tuple)):
        return [_masked("", item) for item in value]
    if isinstance(value, (bool, int, float)):
        return value
    text = str(value)
    assigned = _ASSIGNED.fullmatch(text)
    if assigned and (_SECRET.search(assigned["name"]) or is_secret(assigned["name"])):
        return f"{assigned['name']}{assigned['sign']}{_MASK}"
    return _PASSWORD_IN_URL.sub(rf"\1:{_MASK}@", text)
