"""What deploy/ says to Kubernetes, to the official chart and to Grafana is true of a running server."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from process import Running

from millpond.cli import shim

DEPLOY = Path(__file__).parents[3] / "deploy"
MANIFESTS = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "millpond.yaml").read_text()))
VALUES = yaml.safe_load((DEPLOY / "helm" / "values.yaml").read_text())
# The form in which chart 2.14.2 writes its configuration for these values: JSON but for units and variables.
CHART_CONFIG = """{
  "http_port": 8222,
  "jetstream": {
    "max_file_store": 9Gi,
    "max_memory_store": 0,
    "store_dir": "/data"
  },
  "lame_duck_duration": "30s",
  "lame_duck_grace_period": "10s",
  "pid_file": "/var/run/nats/nats.pid",
  "port": 4222,
  "server_name": $SERVER_NAME
}
"""
CHART_PROBES = ("/healthz", "/healthz?js-server-only=true", "/healthz?js-enabled-only=true")
CHART_PRE_STOP = ["nats-server", "-sl=ldm=/var/run/nats/nats.pid"]


def manifest(kind: str) -> Any:
    (found,) = (each for each in MANIFESTS if each["kind"] == kind)
    return found


POD = manifest("StatefulSet")["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
PROBES = tuple(CONTAINER[name]["httpGet"]["path"] for name in ("startupProbe", "readinessProbe", "livenessProbe"))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shim.write(tmp_path_factory.mktemp("bin"))


@contextmanager
def deployed(config: str, program: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Running, int]]:
    """The server as the container starts it, below `root`; and the port of its pages."""
    monkeypatch.setenv("SERVER_NAME", "millpond-0")
    (root / "data").mkdir()
    for path in ("/data", "/var/run/nats"):
        config = config.replace(path, f"{root}/{path.rsplit('/', 1)[1]}".removesuffix("/nats"))
    config = re.sub(r'(port"?: )\d+', r"\1-1", config)
    (root / "nats.conf").write_text(config)
    with Running("-a", "127.0.0.1", "--config", str(root / "nats.conf"), program=program, cwd=root) as running:
        page = running.line("Starting http monitor on ")
        running.ready()
        yield running, int(page.rpartition(":")[2])


def get(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        body: bytes = answer.read()
    return body


DEPLOYMENTS = {
    "manifest": (
        manifest("ConfigMap")["data"]["nats.conf"], PROBES, CONTAINER["lifecycle"]["preStop"]["exec"]["command"]
    ),
    "chart": (CHART_CONFIG, CHART_PROBES, CHART_PRE_STOP),
}  # fmt: skip


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_it_starts_is_healthy_and_stops(
    name: str, program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, probes, pre_stop = DEPLOYMENTS[name]
    with deployed(config, program, tmp_path, monkeypatch) as (running, port):
        assert [json.loads(get(port, path))["status"] for path in probes] == ["ok"] * 3
        page = json.loads(get(port, "/varz"))
        assert page["server_name"] == "millpond-0"
        assert page["jetstream"]["config"]["max_storage"] == 9 * 2**30
        assert page["jetstream"]["config"]["store_dir"] == f"{tmp_path}/data/jetstream"
        command, argument = pre_stop
        assert command == program.name
        stop = [program, argument.replace("/var/run/nats", str(tmp_path))]
        assert subprocess.run(stop, capture_output=True, text=True, check=False).returncode == 0
        code, log = running.end()
        assert code == 0
        assert "Entering lame duck mode" in log


def test_the_pod_is_unprivileged_and_its_requests_are_limits() -> None:
    for security, container in (
        (POD["securityContext"], CONTAINER),
        (VALUES["podTemplate"]["merge"]["spec"]["securityContext"],
         {**VALUES["container"]["merge"], "resources": VALUES["container"]["resources"]}),
    ):  # fmt: skip
        assert security["runAsNonRoot"] is True
        assert security["fsGroup"] == security["runAsGroup"] == security["runAsUser"] > 0
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert set(container["resources"]["limits"]) == {"cpu", "memory"}


def test_manifests_fit_together() -> None:
    labels = manifest("StatefulSet")["spec"]["template"]["metadata"]["labels"]
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    for service in (each for each in MANIFESTS if each["kind"] == "Service"):
        assert service["spec"]["selector"] == labels
        assert all(port["port"] == ports[port["targetPort"]] for port in service["spec"]["ports"])
    assert manifest("StatefulSet")["spec"]["serviceName"] in [
        each["metadata"]["name"] for each in MANIFESTS if each["kind"] == "Service"
    ]
    claims = manifest("StatefulSet")["spec"]["volumeClaimTemplates"]
    volumes = {each["name"] for each in POD["volumes"]} | {each["metadata"]["name"] for each in claims}
    assert {mount["name"] for mount in CONTAINER["volumeMounts"]} == volumes


def test_what_the_container_file_copies_is_there() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (DEPLOY / "Containerfile").read_text(), re.M)
    names = " ".join(copied).split()
    assert names and all((DEPLOY.parent / name).exists() for name in names)
    kept = re.findall(r"^!(\S+)$", (DEPLOY / "Containerfile.dockerignore").read_text(), re.M)
    assert sorted(kept) == sorted(names)


@pytest.mark.parametrize("query", ["", "?prefix=nats"])
def test_the_dashboard_finds_its_metrics(
    query: str, program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = json.loads((DEPLOY / "grafana" / "memory.json").read_text())
    wanted = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    wanted += [variable["query"]["query"] for variable in board["templating"]["list"] if variable["type"] == "query"]
    with deployed(CHART_CONFIG, program, tmp_path, monkeypatch) as (running, port):
        names = set(re.findall(r"^([a-z_]+)\{", get(port, f"/metrics{query}").decode(), re.M))
        for expression in wanted:
            (pattern,) = re.findall(r'__name__=~"([^"]+)"', expression)
            assert any(re.fullmatch(pattern, name) for name in names), expression
        running.signal(signal.SIGTERM)
        assert running.end()[0] == 0
