"""The files in deploy/queue start what exists: commands, settings, addresses, and logs for the settings."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from bemi_django import destinations
from bemi_django.exceptions import QueueUnavailable
from bemi_django.ingest.queue.broker import Broker
from bemi_django.ingest.timeouts import Timeouts
from bemi_django.management.commands.bemi import Command
from bemi_django.wire import queue_address
from sample_project.postgres_process import free_port
from tests.support.paths import ROOT
from tests.support.polling import until

QUEUE = ROOT / "deploy/queue"
PAGE = (ROOT / "docs/scaling.md").read_text()
COMPOSE = yaml.safe_load((QUEUE / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
KUBERNETES = list(yaml.safe_load_all((QUEUE / "kubernetes.yaml").read_text()))
NAMED = {(found["kind"], found["metadata"]["name"]): found for found in KUBERNETES}
SITES = ("shop", "orders")
WORKERS = ("shop-publisher", "orders-publisher", "log-consumers", "log-orders-consumers")
#: The services that run the site.
ENVIRONMENTS = (*WORKERS, "shop-migrate", "orders-migrate")
SETTINGS, *_ = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The settings of the page, with the variables of a site."""
    for name, value in SERVICES["shop-publisher"]["environment"].items():
        monkeypatch.setenv(name, value)
    names: dict[str, Any] = {}
    exec(compile(SETTINGS, "docs/scaling.md, settings", "exec"), names)
    return names


def containers() -> dict[str, dict[str, Any]]:
    """The only container of each workload in Kubernetes, by the workload's name."""
    found = {}
    for (kind, name), workload in NAMED.items():
        if kind in ("Deployment", "StatefulSet"):
            (found[name],) = workload["spec"]["template"]["spec"]["containers"]
    return found


def commands() -> list[list[str]]:
    """The arguments of each ``manage.py`` in both files."""
    lines: list[list[str]] = [service.get("command", []) for service in SERVICES.values()]
    lines += [container.get("command", []) for container in containers().values()]
    found = []
    for line in lines:
        # One runs two commands, by a shell.
        for words in [shlex.split(part) for part in line[2].split("&&")] if line[:1] == ["sh"] else [line]:
            if "manage.py" in words:
                found.append(words[words.index("manage.py") + 1 :])
    return found


def test_the_commands_and_their_options_exist(project: dict[str, Any]) -> None:
    parser = Command().create_parser("manage.py", "bemi")
    found = Counter((program, tuple(arguments)) for program, *arguments in commands())
    assert Counter(program for program, _ in found.elements()) == {"bemi": 8, "migrate": 4}
    for program, arguments in found:
        if program == "bemi":
            assert parser.parse_args(arguments).subcommand == arguments[0]
    # Each database is migrated once: that of a site by the site, and the logs by one of them.
    logs = [project["BEMI_DESTINATION"], *project["BEMI_DESTINATIONS"]]
    wanted = {("migrate",): len(SITES)} | {("migrate", "--database", alias): 1 for alias in logs}
    assert {
        (program, *rest): number for (program, rest), number in found.items() if program == "migrate"
    } == wanted


def test_the_example_has_what_the_page_says() -> None:
    assert "two sources, a queue of three servers, four consumers, two logs" in PAGE
    for site in SITES:
        publisher, migrate = SERVICES[f"{site}-publisher"], SERVICES[f"{site}-migrate"]
        assert "deploy" not in publisher
        assert publisher["environment"] == migrate["environment"]
        source = SERVICES[publisher["environment"]["PGHOST"]]
        assert "wal_level=logical" in source["command"]
        assert source["environment"]["POSTGRES_DB"] == publisher["environment"]["PGDATABASE"] == site
        deployed = NAMED["Deployment", f"{site}-publisher"]["spec"]
        assert deployed["replicas"] == 1 and deployed["strategy"] == {"type": "Recreate"}
    assert NAMED["StatefulSet", "nats"]["spec"]["replicas"] == 3
    for (kind, name), workload in NAMED.items():
        if kind in ("Deployment", "StatefulSet"):
            template = workload["spec"]["template"]
            assert (
                workload["spec"]["selector"]["matchLabels"] == template["metadata"]["labels"] == {"app": name}
            )


def test_each_destination_of_the_settings_has_a_database_and_consumers(
    project: dict[str, Any], settings: Any
) -> None:
    logs = [project["BEMI_DESTINATION"], *project["BEMI_DESTINATIONS"]]
    assert len(logs) == 2
    settings.BEMI_DESTINATION, settings.BEMI_DESTINATIONS = logs[0], project["BEMI_DESTINATIONS"]
    # Each site has its log, so as_of() works in both.
    division = destinations.division()
    assert [division.of_database(site) for site in SITES] == [[log] for log in logs]
    hosts = {alias: database.get("HOST") for alias, database in project["DATABASES"].items()}
    for alias in logs:
        log = SERVICES[hosts[alias]]
        assert log["environment"]["POSTGRES_DB"] == project["DATABASES"][alias]["NAME"]
        assert "wal_level=logical" not in log.get("command", ())
        chosen = ["--destination", alias] if alias != logs[0] else []
        wanted = ["python", "manage.py", "bemi", "consume", *chosen, "--log-format", "json"]
        consumers = SERVICES[f"{hosts[alias]}-consumers"]
        assert consumers["command"] == wanted and consumers["deploy"]["replicas"] == 2
        assert containers()[f"{hosts[alias]}-consumers"]["command"] == wanted
        assert NAMED["Deployment", f"{hosts[alias]}-consumers"]["spec"]["replicas"] == 2
    # All know both logs, and one stream.
    shared = ("LOG_HOST", "LOG_ORDERS_HOST", "BEMI_SINK")
    for name in ENVIRONMENTS:
        of_shop = SERVICES["shop-publisher"]["environment"]
        assert {key: SERVICES[name]["environment"][key] for key in shared} == {
            key: of_shop[key] for key in shared
        }
    said = (QUEUE / "kubernetes.yaml").read_text().partition("apiVersion")[0]
    assert all(
        name in said
        for name in SERVICES["shop-publisher"]["environment"]
        if name.isupper() and name != "DJANGO_SETTINGS_MODULE"
    )


def test_the_stream_is_on_three_servers() -> None:
    url = SERVICES["shop-publisher"]["environment"]["BEMI_SINK"].replace("${NATS_PASSWORD:?}", "secret")
    address = queue_address.parse(url)
    assert address.replicas == 3 and address.lanes >= 2
    assert [server.rpartition("@")[2].partition(":")[0] for server in address.servers] == [
        name for name in SERVICES if name.startswith("nats-")
    ]
    (example,) = re.findall(r"nats://\S+", (QUEUE / "kubernetes.yaml").read_text().partition("apiVersion")[0])
    in_kubernetes = queue_address.parse(example)
    service = NAMED["StatefulSet", "nats"]["spec"]["serviceName"]
    assert [server.rpartition("@")[2] for server in in_kubernetes.servers] == [
        f"nats-{n}.{service}:4222" for n in range(3)
    ]
    assert ("Service", service) in NAMED and in_kubernetes.replicas == 3
    assert in_kubernetes.stream == address.stream


@pytest.mark.parametrize("where", ["compose", "kubernetes"])
def test_the_server_of_the_queue_has_its_stream(where: str, tmp_path: Path) -> None:
    if where == "compose":
        text = (QUEUE / "nats.conf").read_text()
        given, suffix = set(SERVICES["nats-0"]["environment"]), ""
    else:
        text = NAMED["ConfigMap", "nats"]["data"]["nats.conf"]
        given = {variable["name"] for variable in containers()["nats"]["env"]}
        suffix = "." + NAMED["StatefulSet", "nats"]["spec"]["serviceName"]
    assert set(re.findall(r"(?<!\")\$(\w+)", text)) == given == {"NODE", "NATS_PASSWORD"}
    # Together, publishers and consumers need what the page says.
    users, *_ = re.findall(r"^authorization \{.*?^\}$", PAGE, re.DOTALL | re.MULTILINE)
    assert set(re.findall('"[^"]+"', text)) == set(re.findall('"[^"]+"', users))
    assert re.findall(r"nats://([\w.-]+):6222", text) == [f"nats-{number}{suffix}" for number in range(3)]
    # One server of the three, alone.
    port = free_port()
    alone = re.sub(r"^cluster \{.*?^\}", "", text, flags=re.DOTALL | re.MULTILINE)
    alone = alone.replace("0.0.0.0:4222", f"127.0.0.1:{port}").replace(
        "0.0.0.0:8222", f"127.0.0.1:{free_port()}"
    )
    (tmp_path / "nats.conf").write_text(alone.replace("/data", str(tmp_path / "data")))
    program = Path(sys.executable).parent / "nats-server"
    environment = {**os.environ, "NODE": "nats-0", "NATS_PASSWORD": "secret"}
    with (tmp_path / "said").open("wb") as said:
        server = subprocess.Popen([program, "-c", tmp_path / "nats.conf"], env=environment, stderr=said)
    try:
        until(lambda: "Server is ready" in (tmp_path / "said").read_text(), why=(tmp_path / "said").read_text)
        with closing(Broker(queue_address.parse(f"nats://bemi:secret@127.0.0.1:{port}/bemi"))) as broker:
            assert broker.replicas == 1
        with pytest.raises(QueueUnavailable, match="refuses the user or the password"):
            Broker(queue_address.parse(f"nats://bemi:wrong@127.0.0.1:{port}/bemi"))
    finally:
        server.kill()
        server.wait()


def test_prometheus_asks_the_publishers() -> None:
    texts = [
        (QUEUE / "prometheus.yml").read_text(),
        NAMED["ConfigMap", "prometheus"]["data"]["prometheus.yml"],
    ]
    for text in texts:
        (job,) = yaml.safe_load(text)["scrape_configs"]
        (group,) = job["static_configs"]
        assert group["targets"] == [f"{site}-publisher:9464" for site in SITES]
    for site in SITES:
        for command in (
            SERVICES[f"{site}-publisher"]["command"],
            containers()[f"{site}-publisher"]["command"],
        ):
            assert "0.0.0.0:9464" in command
        (port,) = NAMED["Service", f"{site}-publisher"]["spec"]["ports"]
        assert port["port"] == 9464


def test_the_page_has_settings_for_the_variables(project: dict[str, Any]) -> None:
    environment = SERVICES["shop-publisher"]["environment"]
    assert project["BEMI_SINK"] == environment["BEMI_SINK"]
    read = set(re.findall(r'os\.environ\["(\w+)"\]', SETTINGS))
    by_libpq = {"PGHOST", "PGUSER", "PGPASSWORD"}
    assert read | by_libpq | {"SECRET_KEY", "DJANGO_SETTINGS_MODULE"} == set(environment)
    source = "".join(path.read_text() for path in (ROOT / "bemi_django").rglob("*.py"))
    for name in set(re.findall(r"BEMI_[A-Z_]+", SETTINGS)):
        assert f'"{name}"' in source, name


def test_the_workers_have_time_to_stop() -> None:
    for name in WORKERS:
        assert SERVICES[name]["stop_grace_period"] == "30s"
        pod = NAMED["Deployment", name]["spec"]["template"]["spec"]
        assert pod["terminationGracePeriodSeconds"] == 30 > 2 * Timeouts().grace


def test_volumes_and_files_that_are_mounted_exist() -> None:
    for service in SERVICES.values():
        for mount in service.get("volumes", []):
            place = mount.split(":")[0]
            assert (QUEUE / place).is_file() if place.startswith("./") else place in COMPOSE["volumes"]
