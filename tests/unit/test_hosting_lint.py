"""The files in deploy/ are what the programs that read them expect; no engine runs them here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import compose_spec
import pytest
import yaml

from tests.support.paths import ROOT

DEPLOY = ROOT / "deploy"
COMPOSE = sorted(DEPLOY.rglob("compose.yaml"))
KUBERNETES = sorted(DEPLOY.rglob("kubernetes.yaml"))


def name(path: Path) -> str:
    return str(path.relative_to(DEPLOY))


def test_there_are_files() -> None:
    assert len(COMPOSE) == len(KUBERNETES) == 2


@pytest.mark.parametrize("path", COMPOSE, ids=name)
def test_compose_understands_the_services(path: Path) -> None:
    # The parser knows no anchors.
    parsed = compose_spec.PyCompose.from_json(json.dumps(yaml.safe_load(path.read_text())))
    parsed.validate()
    services = yaml.safe_load(path.read_text())["services"]
    assert set(parsed.service_names()) == set(services)
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)


def test_a_wrong_service_is_refused() -> None:
    wrong = yaml.safe_load(COMPOSE[0].read_text())
    next(iter(wrong["services"].values()))["restart"] = "sometimes"
    with pytest.raises(ValueError, match="unknown variant"):
        compose_spec.PyCompose.from_json(json.dumps(wrong))


@pytest.mark.parametrize("path", KUBERNETES, ids=name)
def test_kubernetes_understands_the_objects(path: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "kubernetes-validate", "--strict", path],
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert said.count(" passed for resource ") == len(list(yaml.safe_load_all(path.read_text())))


def test_the_dockerfile_follows_the_rules() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "hadolint", DEPLOY / "Dockerfile"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
