"""Where the command ``bemi`` finds its configuration, and what it makes of connection strings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from bemi_django.cli import main, project
from bemi_django.cli.configuration import SETTINGS, Configuration, ConfigurationError, configuration_of
from bemi_django.cli.project import database_of
from tests.support.paths import ROOT

URL = "postgresql://ann@db/shop"

#: Settings of web processes and of handlers, and the destination, which is a connection string here.
NOT_HERE = {
    "admin_events", "admin_history", "admin_scope", "alert_handlers", "alerts", "as_of_patience",
    "auth_events", "capture", "context_function", "destination", "destinations",
    "engine_options", "masked_fields",
    "metrics_token", "site_url", "time_travel_present", "trust_request_id", "trusted_proxies",
}  # fmt: skip


def found(
    arguments: list[str], environment: dict[str, str], directory: Path, file: str | None = None
) -> Configuration:
    if file is not None:
        (directory / "pyproject.toml").write_text(file)
    return configuration_of(arguments, environment, directory)[0]


def test_the_command_line_goes_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    file = '[tool.bemi]\nsource = "file"\ndestination = "file"\nslot = "file"'
    environment = {
        "BEMI_SOURCE": "environment",
        "BEMI_DESTINATION": "environment",
        "BEMI_SLOT": "environment",
    }
    last = {"DATABASE_URL": "last"}
    assert found(["run"], last, tmp_path).source == "last"
    assert found(["run"], last, tmp_path, file)[:3] == ("file", "file", {"slot": "file"})
    assert found(["run"], {**last, **environment}, tmp_path)[:3] == (
        "environment", "environment", {"slot": "environment"},
    )  # fmt: skip
    given = ["run", "--source", "given", "--destination=given"]
    assert found(given, environment, tmp_path)[:2] == ("given", "given")


def test_the_other_arguments_are_left(tmp_path: Path) -> None:
    arguments = ["--source", URL, "verify", "public.todo", "--destination", URL, "--slow"]
    assert configuration_of(arguments, {}, tmp_path)[1] == ["verify", "public.todo", "--slow"]


def test_the_file_of_a_directory_above_is_found(tmp_path: Path) -> None:
    below = tmp_path / "a/b"
    below.mkdir(parents=True)
    (tmp_path / "a/pyproject.toml").write_text("[project]\nname = 'x'")
    (tmp_path / "pyproject.toml").write_text(f'[tool.bemi]\nsource = "{URL}"\ninclude = ["shop.*"]')
    assert found(["run"], {}, below)[:3] == (URL, None, {"include": ["shop.*"]})


def test_settings_of_the_environment_have_types(tmp_path: Path) -> None:
    environment = {
        "BEMI_SOURCE": URL,
        "BEMI_ACCEPT_GAP": "True",
        "BEMI_CONTEXT_KEYS": "0123456789abcdef,fedcba9876543210",
        "BEMI_INCLUDE": "shop.*, public.*",
        "BEMI_INDEX_VALUES": "no",
        "BEMI_RENAMED_COLUMNS": '{"shop.todo": {"title": "task"}}',
    }
    assert found(["run"], environment, tmp_path).settings == {
        "accept_gap": True,
        "context_keys": ["0123456789abcdef", "fedcba9876543210"],
        "include": ["shop.*", "public.*"],
        "index_values": False,
        "renamed_columns": {"shop.todo": {"title": "task"}},
    }


@pytest.mark.parametrize(
    ("file", "environment", "message"),
    [
        ("", {}, "no source: give --source"),
        ("[tool.bemi]\nsuorce = 'x'", {}, "has no 'suorce': use one of .*source"),
        ("[tool.bemi]\nsource = 5432", {}, "source is 5432: it must be a string"),
        ("[tool.bemi]\nsource = 'x'\nlargest_dead_letter = true", {}, "is True: it must be a number"),
        (None, {"BEMI_SOURCE": "x", "BEMI_LARGEST_DEAD_LETTER": "1 MB"}, "is '1 MB': it must be a number"),
        ("[tool.bemi]\nsource = 'x'\ninclude = 'public.*'", {}, "include is 'public.\\*': it must be a list"),
        ("[tool.bemi", {}, "cannot read .*pyproject.toml"),
        ("", {"BEMI_SOURCE": "x", "BEMI_ACCEPT_GAP": "maybe"}, "BEMI_ACCEPT_GAP is 'maybe': use true"),
        ("", {"BEMI_SOURCE": "x", "BEMI_RENAMED_COLUMNS": "{"}, "BEMI_RENAMED_COLUMNS is not valid JSON"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_that_says_what_to_correct(
    file: str, environment: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=message) as error:
        found(["run"], environment, tmp_path, file)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "line",
    ["context_keys = 'never shown, 16 bytes'", "mask_key = ['never shown, 16 bytes']"],
)
def test_no_mistake_shows_a_secret(line: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is a (str|list): it must be a (list|string)") as error:
        found(["run"], {}, tmp_path, f"[tool.bemi]\nsource = 'x'\n{line}")
    assert "never shown" not in str(error.value)


@pytest.mark.parametrize("arguments", [[], ["--help"], ["run", "--help"]])
def test_help_needs_no_source(arguments: list[str], tmp_path: Path) -> None:
    assert found(arguments, {}, tmp_path) == Configuration()


def test_a_django_project_is_used_unless_a_source_is_given(tmp_path: Path) -> None:
    environment = {"DJANGO_SETTINGS_MODULE": "mysite.settings", "DATABASE_URL": URL}
    assert found(["run"], environment, tmp_path) == Configuration(django_settings="mysite.settings")
    assert found(["run", "--source", URL], environment, tmp_path) == Configuration(URL)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://ann:p%40ss@db:5433/shop",
         {"NAME": "shop", "USER": "ann", "PASSWORD": "p@ss", "HOST": "db", "PORT": "5433"}),
        ("postgres://ann@/shop?host=/run/pg&sslmode=require",
         {"NAME": "shop", "USER": "ann", "HOST": "/run/pg", "OPTIONS": {"sslmode": "require"}}),
        ("postgresql+asyncpg://ann@db/shop", {"NAME": "shop", "USER": "ann", "HOST": "db"}),
        ("host=db dbname=shop user=ann application_name=bemi",
         {"NAME": "shop", "USER": "ann", "HOST": "db", "OPTIONS": {"application_name": "bemi"}}),
        ("postgresql://ann@a:1,b:2/shop", {"NAME": "shop", "USER": "ann", "HOST": "a,b", "PORT": "1,2"}),
        ("postgresql://ann@db", {"NAME": "ann", "USER": "ann", "HOST": "db"}),
        ("service=shop", {"OPTIONS": {"service": "shop"}}),
    ],
)  # fmt: skip
def test_a_connection_string_is_an_entry_of_databases(
    text: str, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGDATABASE", raising=False)
    assert database_of(text) == {"ENGINE": "django.db.backends.postgresql", "OPTIONS": {}, **expected}


def test_a_user_without_a_name_in_the_operating_system_needs_one_in_the_string(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 1000670000")

    monkeypatch.setattr("getpass.getuser", nobody)
    for variable in ("PGUSER", "PGDATABASE"):
        monkeypatch.delenv(variable, raising=False)
    assert database_of("postgresql://db/shop")["NAME"] == "shop"
    with pytest.raises(SystemExit, match="names no database and no user"):
        database_of("postgresql://db")


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://ann:secret@db/shop?nothing=1",
        "postgresqll://ann:secret@db/shop",
        "postgresql://ann:secret@[db/shop",
        "host=db password=my secret",
        "password='secret",
    ],
)
def test_a_wrong_connection_string_ends_with_a_line_without_the_password(text: str) -> None:
    with pytest.raises(SystemExit) as ended:
        database_of(text)
    message = str(ended.value)
    assert "the connection string is not valid" in message and "secret" not in message and "\n" not in message
    assert ('"nothing"' in message) == ("nothing" in text)


def test_every_setting_is_here_or_of_no_use_without_django() -> None:
    code = "".join(module.read_text() for module in (ROOT / "bemi_django").rglob("*.py"))
    named = {
        name.lower() for name in re.findall(r'(?:getattr\(\s*settings,\s*|\bpatterns\()"BEMI_(\w+)"', code)
    }
    unknown = named - set(SETTINGS) - NOT_HERE
    assert not unknown, (
        f"add to SETTINGS of cli/configuration.py, or to NOT_HERE if it needs Django: {unknown}"
    )
    assert {*SETTINGS, *NOT_HERE} <= named


def test_whoever_interrupts_while_the_project_is_loaded_sees_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(configuration: Configuration) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(project, "configure", interrupted)
    with pytest.raises(SystemExit) as ended:
        main(["status", "--source", URL])
    assert ended.value.code == 130
    assert capsys.readouterr().err == "bemi: interrupted: the same command can be run again\n"
