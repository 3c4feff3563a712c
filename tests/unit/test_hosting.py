"""The files in deploy/ and docs/hosting.md name what exists: commands, probes, packages, limits."""

from __future__ import annotations

import ast
import configparser
import fnmatch
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml
from django.db import connections

from bemi_django import conf
from bemi_django.ingest.timeouts import Timeouts
from bemi_django.management.commands.bemi import Command
from bemi_django.management.worker.configured_worker import worker_config
from bemi_django.metrics.answers import Answers
from bemi_django.metrics.server import _Server
from tests.support.paths import ROOT

DEPLOY = ROOT / "deploy"
PAGE = (ROOT / "docs/hosting.md").read_text()
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
KUBERNETES = yaml.safe_load((DEPLOY / "kubernetes.yaml").read_text())
(CONTAINER,) = KUBERNETES["spec"]["template"]["spec"]["containers"]
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()


def config(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(path.read_text())
    return parser


UNIT = config(DEPLOY / "bemi.service")
SETUP = config(ROOT / "setup.cfg")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def commands() -> Iterator[list[str]]:
    """The command lines of manage.py in all files and on the page, from the subcommand on."""
    lines = [
        shlex.split(UNIT["Service"]["ExecStart"]),
        COMPOSE["worker"]["command"],
        CONTAINER["command"],
        *(
            shlex.split(line.removeprefix("worker: "))
            for block in blocks("(?:sh|yaml)")
            for line in block.splitlines()
        ),
    ]
    for line in lines:
        if "manage.py" in line:
            program, *arguments = line[line.index("manage.py") + 1 :]
            assert program == "bemi", line
            yield arguments


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def test_every_file_is_on_the_page() -> None:
    listed = set(re.findall(r"\]\(\.\./deploy/([\w./]+)\)", PAGE))
    assert listed == {str(path.relative_to(DEPLOY)) for path in DEPLOY.rglob("*") if path.is_file()}


def test_the_commands_and_their_options_exist() -> None:
    parser = Command().create_parser("manage.py", "bemi")
    found = [[argument.replace("orders", "default") for argument in given] for given in commands()]
    assert len(found) == 7
    for arguments in found:
        assert parser.parse_args(arguments).subcommand == arguments[0]


def test_the_settings_and_checks_that_the_page_names_exist() -> None:
    source = "".join(path.read_text() for path in (ROOT / "bemi_django").rglob("*.py"))
    names = set(re.findall(r"BEMI_[A-Z_]+|bemi\.[EW]\d+", PAGE))
    assert "bemi.W015" in names
    assert not {name for name in names if f'"{name}"' not in source}


def test_the_probes_ask_pages_of_the_worker() -> None:
    with _Server(Answers(), "127.0.0.1", 0) as server:
        pages = set(server.pages)
    (port,) = CONTAINER["ports"]
    for kind in ("livenessProbe", "readinessProbe"):
        probe = CONTAINER[kind]["httpGet"]
        assert probe["path"] in pages and probe["port"] == port["name"]
    assert CONTAINER["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert CONTAINER["command"][-3] == f"0.0.0.0:{port['containerPort']}"
    (probed,) = re.findall(
        r"http://127\.0\.0\.1:(\d+)(/\w+)", " ".join(COMPOSE["worker"]["healthcheck"]["test"])
    )
    assert probed[1] in pages and f"0.0.0.0:{probed[0]}" in COMPOSE["worker"]["command"]


def test_one_worker_runs_at_a_time() -> None:
    specification = KUBERNETES["spec"]
    assert specification["replicas"] == 1
    assert specification["strategy"] == {"type": "Recreate"}
    assert specification["selector"]["matchLabels"] == specification["template"]["metadata"]["labels"]


def test_the_worker_has_time_to_stop() -> None:
    limits = [
        KUBERNETES["spec"]["template"]["spec"]["terminationGracePeriodSeconds"],
        seconds(COMPOSE["worker"]["stop_grace_period"]),
        int(UNIT["Service"]["TimeoutStopSec"]),
    ]
    assert min(limits) >= 2 * Timeouts().grace
    assert [limits[0]] * 3 == limits and f"give it {limits[0]} seconds to stop" in PAGE
    assert f"which takes {Timeouts().grace:.0f} at the most" in PAGE


def test_the_server_of_the_compose_file_writes_logical_wal() -> None:
    assert "wal_level=logical" in COMPOSE["database"]["command"]
    assert COMPOSE["web"]["image"] == COMPOSE["worker"]["image"] == COMPOSE["migrate"]["image"]
    for service in ("web", "worker"):
        assert COMPOSE[service]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}


def test_the_image_installs_the_wheel_of_this_package() -> None:
    name, version = SETUP["metadata"]["name"], SETUP["metadata"]["version"]
    wheel = f"{re.sub('[-_.]+', '_', name)}-{version}-py3-none-any.whl"
    patterns = re.findall(r"(?:wheels)/([\w.*-]+\.whl)(?:\)\[(\w+)\])?", DOCKERFILE)
    assert len(patterns) == 2
    assert all(fnmatch.fnmatch(wheel, pattern) for pattern, _ in patterns)
    assert patterns[-1][1] in SETUP["options.extras_require"]
    (python,) = re.findall(r"^FROM python:([\d.]+)-slim$", DOCKERFILE, re.MULTILINE)
    assert f"Python :: {python}\n" in SETUP["metadata"]["classifiers"] + "\n"


def test_the_command_of_the_image_receives_signals() -> None:
    (command,) = re.findall(r"^CMD (.*)$", DOCKERFILE, re.MULTILINE)
    assert json.loads(command)[0] == "gunicorn"
    assert re.search(r"^USER [1-9]\d*$", DOCKERFILE, re.MULTILINE), (
        "Kubernetes does not see that a name is not root"
    )


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    assert UNIT["Unit"]["StartLimitIntervalSec"] == "0" and UNIT["Service"]["Restart"] == "on-failure"
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "bemi.service"
    (python,) = re.findall(r"^ExecStart=(\S+)", (DEPLOY / "bemi.service").read_text(), re.MULTILINE)
    unit.write_text((DEPLOY / "bemi.service").read_text().replace(python, sys.executable))
    done = subprocess.run([program, "verify", str(unit)], capture_output=True, text=True, check=False)
    # Of other units on this machine it may say what it likes.
    about = [line for line in (done.stdout + done.stderr).splitlines() if unit.name in line]
    assert not about


def test_the_files_read_the_database_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGDATABASE", "mysite")
    names: dict[str, Any] = {}
    exec(compile(blocks("python")[0], "docs/hosting.md, settings", "exec"), names)
    assert names["DATABASES"]["default"]["NAME"] == "mysite"
    assert "PGDATABASE" in COMPOSE["worker"]["environment"]


def test_the_worker_asks_for_each_password_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = iter(range(100))

    def token(DBHostname: str, Port: str, DBUsername: str) -> str:
        return f"{DBUsername}@{DBHostname}:{Port}, {next(tokens)}"

    boto3 = ModuleType("boto3")
    boto3.client = lambda service: SimpleNamespace(generate_db_auth_token=token)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "boto3", boto3)
    names: dict[str, Any] = {}
    exec(compile(blocks("python")[1], "docs/hosting.md, backend", "exec"), names)
    given = {
        "NAME": "mysite",
        "HOST": "rds",
        "PORT": "5432",
        "USER": "bemi_worker",
        "PASSWORD": "",
        "OPTIONS": {},
    }
    backend = names["DatabaseWrapper"]({**connections["default"].settings_dict, **given}, "default")
    monkeypatch.setattr(conf, "connections", {"default": backend})
    made = worker_config("default")
    passwords = [parameters["password"] for _ in range(3) for parameters in made.addresses()]
    assert len(set(passwords)) == 6
    assert all(password.startswith("bemi_worker@rds:5432, ") for password in passwords)


def test_psycopg2_may_be_installed_under_another_name() -> None:
    """Distributions are looked up by name for SQLAlchemy only, and nowhere in another way."""
    looked_up = set()
    for path in (ROOT / "bemi_django").rglob("*.py"):
        source = path.read_text()
        assert not re.search(r"importlib[._]metadata|pkg_resources", source), path
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and re.match(r"metadata\.\w+$", ast.unparse(node.func)):
                looked_up.add(ast.unparse(node))
    assert looked_up == {"metadata.version('sqlalchemy')"}


def test_psycopg2_from_source_is_the_package_that_is_required() -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("pip ")]
    assert lines == [
        "pip install --no-binary psycopg2-binary .",
        "pip install --no-deps .",
        "pip install --no-binary psycopg2 psycopg2",
    ]
    assert re.search(r"^psycopg2-binary\b", SETUP["options"]["install_requires"], re.MULTILINE)
