"""``python -m sample_project.demo``: PostgreSQL, worker and site at work, and what the log has of it."""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from sample_project.demo_client import SiteClient
from sample_project.demo_processes import Children, DemoError

HOST = "127.0.0.1"
LOGIN = "demo"
NEEDED = ("django", "psycopg2", "rich")
INSTALL = "pip install -e '.[embedded,aldjemy]' -r sample_project/requirements.txt"
NEEDED_BY_SHOP = ("time_machine",)
WORKER_READY = """
    SELECT EXISTS (SELECT FROM pg_replication_slots WHERE active AND database = current_database())
       AND EXISTS (SELECT FROM pg_publication_tables WHERE tablename = %s)
"""


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    needed = NEEDED + NEEDED_BY_SHOP if options.shop else NEEDED
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        return _fail(f"the demo needs {', '.join(missing)}: {INSTALL}")
    # Also SIGINT: a shell that starts a program in the background has it ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        port = _free_port() if options.check else _checked_port(options.port)
        return _run(port, options)
    except DemoError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sample_project.demo", description=__doc__)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--check", action="store_true", help="compare the log with what was done, then stop")
    kind.add_argument("--shop", action="store_true", help="days of a shop in place of the to-do list")
    parser.add_argument(
        "--scale", type=float, default=1, help="how busy the shop is (default: 1, 200,000 changes)"
    )
    parser.add_argument(
        "--days", type=int, default=60, help="how many days of the shop there are (default: 60)"
    )
    parser.add_argument("--port", type=_port, default=8000, help="of the site (default: 8000)")
    return parser


def _run(port: int, options: argparse.Namespace) -> int:
    import psycopg2

    from sample_project.postgres_programs import ServerError
    from sample_project.postgres_server import postgres_server

    try:
        _say("Starting PostgreSQL")
        settings = "sample_project.store.settings" if options.shop else "sample_project.settings"
        with postgres_server() as server, _children(server.url, settings) as children:
            _say(f"  it listens on {server.host}:{server.port}")
            _prepare(children)
            with closing(psycopg2.connect(server.url)) as connection:
                connection.autocommit = True
                with connection.cursor() as cursor:
                    if options.shop:
                        _play_season(children, cursor, options)
                        _start_site(children, port, "/admin/login/")
                        status = 0
                    else:
                        status = _show(children, cursor, server.url, port, options.check)
            if not options.check:
                _serve(children, port, options.shop)
            return status
    except ServerError as error:
        raise DemoError(str(error)) from error
    except psycopg2.Error as error:
        raise DemoError(f"PostgreSQL: {str(error).strip().splitlines()[0]}") from error


def _prepare(children: Children) -> None:
    _say("Migrating the database: tables of the site, the log, triggers")
    children.run("migrate", "--verbosity", "0")
    try:
        children.run(
            "createsuperuser",
            "--noinput",
            DJANGO_SUPERUSER_USERNAME=LOGIN,
            DJANGO_SUPERUSER_PASSWORD=LOGIN,
            DJANGO_SUPERUSER_EMAIL="demo@example.com",
        )
    except DemoError as error:
        if "already taken" not in str(error):
            raise


def _show(children: Children, cursor: Any, url: str, port: int, check: bool) -> int:
    """Start worker and site, play the scenario, print the changes that the log has of it."""
    from sample_project.demo_log import mismatches, print_log, read_log
    from sample_project.demo_scenario import Scenario

    cursor.execute("SELECT now(), id FROM auth_user WHERE username = %s", [LOGIN])
    since, user_id = cursor.fetchone()
    _start_worker(children, cursor, "todo")
    client = _start_site(children, port)
    client.log_in(LOGIN, LOGIN)
    scenario = Scenario(client, url, user_id, _say)
    scenario.play()
    keys = sorted({change.primary_key for change in scenario.expected})
    count = len(scenario.expected)
    _say(f"Waiting for {count} changes in the log")
    try:
        children.wait_until(lambda: len(read_log(cursor, keys, since)) >= count, f"{count} changes")
    except DemoError:
        children.check()
        if not check:
            raise
    # A change that is recorded twice would come now.
    time.sleep(0.5)
    log = read_log(cursor, keys, since)
    _say("The table changes has:")
    print_log(log)
    return _report(list(mismatches(scenario.expected, log)), len(log)) if check else 0


def _play_season(children: Children, cursor: Any, options: argparse.Namespace) -> None:
    """Start the worker, and let it record sixty days of a shop."""
    _start_worker(children, cursor, "store_order")
    _say(f"Playing {options.days} days of the shop, which takes some minutes")
    size = ("--days", str(options.days), "--scale", str(options.scale))
    children.follow("sample_project.store.season", *size, say=_say)


def _start_worker(children: Children, cursor: Any, table: str) -> None:
    _say("Starting the worker: manage.py bemi run")
    children.start("worker", "bemi", "run")
    children.wait_until(lambda: _worker_is_ready(cursor, table), "the worker")


def _start_site(children: Children, port: int, login: str = "/accounts/login/") -> SiteClient:
    _say("Starting the site: manage.py runserver")
    children.start("site", "runserver", "--noreload", "--insecure", f"{HOST}:{port}")
    client = SiteClient(f"http://{HOST}:{port}", login)
    children.wait_until(client.is_up, "the site")
    return client


def _report(problems: list[str], count: int) -> int:
    for problem in problems:
        _fail(problem)
    if not problems:
        _say(f"demo-check: OK ({count} changes)")
    return 1 if problems else 0


def _worker_is_ready(cursor: Any, table: str) -> bool:
    cursor.execute(WORKER_READY, [table])
    return bool(cursor.fetchone()[0])


def _serve(children: Children, port: int, is_shop: bool) -> None:
    site = f"http://{HOST}:{port}/"
    _say("Look first at:")
    _say(f"  {site}admin/bemi_django/change/  every change: search, history, revert")
    _say(f"  {site}admin/bemi_django/change/health/  the worker and its lag")
    if is_shop:
        _say(f"  {site}admin/store/product/  products: change one, and look at its history")
    else:
        _say(f"  {site}  the to-do list: change a todo, then reload the list of changes")
    try:
        _say(f"{site}  login: {LOGIN} / {LOGIN}  (Ctrl-C stops everything)")
        while True:
            children.check()
            time.sleep(0.5)
    except KeyboardInterrupt:
        return


@contextmanager
def _children(url: str, settings: str) -> Iterator[Children]:
    with tempfile.TemporaryDirectory(prefix="bemi-demo-") as folder:
        children = Children(url, Path(folder), settings)
        try:
            yield children
        finally:
            # From here on everything stops in order, and within bounds: a second Ctrl-C must not cut in.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            children.stop()


def _checked_port(port: int) -> int:
    with socket.socket() as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except PermissionError:
            raise DemoError(f"port {port} is not allowed; use another: make demo PORT=8001") from None
        except OSError:
            other = port + 1 if port < 65535 else 8001
            raise DemoError(f"port {port} is taken; use another: make demo PORT={other}") from None
    return port


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError("a number from 1 to 65535")
    return int(text)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _fail(line: str) -> int:
    sys.stderr.write(f"{line}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
