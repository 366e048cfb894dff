"""What `observability` starts finds what it shows."""

from typing import Any

import yaml

from tests.contracts.tree import ROOT, SERVICES

FOLDER = ROOT / "deploy/observability"
CONTAINERS = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]


def load(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    return content


def test_prometheus_asks_every_service_the_broker_and_the_collector() -> None:
    jobs = {each["job_name"]: each for each in load("prometheus.yaml")["scrape_configs"]}
    ports = {
        name: config["port"]
        for config in jobs["thoughtflow"]["dns_sd_configs"]
        for name in config["names"]
    }
    gateway = CONTAINERS["gateway"]["environment"]
    others = dict.fromkeys(set(SERVICES) - {"gateway"}, int(gateway["PORT"]))
    assert ports == others | {"gateway": int(gateway["METRICS_PORT"])}
    targets = [
        target
        for job in jobs.values()
        for config in job.get("static_configs", [])
        for target in config["targets"]
    ]
    assert {target.split(":")[0] for target in targets} == {"rabbitmq", "otel-collector"}


def test_the_collector_hands_every_span_to_jaeger() -> None:
    collector = load("otel-collector.yaml")
    traces = collector["service"]["pipelines"]["traces"]
    assert traces["receivers"] == list(collector["receivers"]) == ["otlp"]
    assert set(traces["processors"]) == set(collector["processors"])
    (exporter,) = traces["exporters"]
    assert collector["exporters"][exporter]["endpoint"].split(":")[0] in CONTAINERS


def test_grafana_gets_its_data_from_containers_that_run_with_it() -> None:
    sources = load("grafana/datasources.yaml")["datasources"]
    assert {source["uid"] for source in sources} == {"prometheus", "jaeger"}
    for source in sources:
        host = source["url"].removeprefix("http://").split(":")[0]
        assert CONTAINERS[host]["profiles"] == CONTAINERS["grafana"]["profiles"]


def test_grafana_looks_for_dashboards_where_their_folder_is_mounted() -> None:
    (provider,) = load("grafana/dashboards.yaml")["providers"]
    mounts = dict(volume.split(":")[:2] for volume in CONTAINERS["grafana"]["volumes"])
    assert mounts["./deploy/observability/grafana/dashboards"] == provider["options"]["path"]
