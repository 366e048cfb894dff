"""What the dashboard draws and the alerts watch is exported; each alert tells what to do."""

import json
import re

import pytest
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

from libs.common import metrics as common
from services.ai import metrics as ai
from services.auth import metrics as auth
from services.billing import metrics as billing
from services.chat import metrics as chat
from services.gateway import metrics as gateway
from tests.contracts.queries import DASHBOARDS, QUERIES, alerts, names, panels
from tests.contracts.tree import ROOT

RUNBOOKS = ROOT / "docs/operations/runbooks"
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
OF_PROMETHEUS = {"job", "instance", "service", "le"}
"""Labels that Prometheus adds, `service` by our configuration of it."""


def exported() -> dict[str, set[str]]:
    """Return every sample that a service exports, with the names of its labels."""
    found: dict[str, set[str]] = {}
    for module in (common, ai, auth, billing, chat, gateway):
        for metric in vars(module).values():
            if isinstance(metric, MetricWrapperBase):
                for suffix in SUFFIXES[str(metric._type)]:
                    found[metric._name + suffix] = set(metric._labelnames)
    for family in REGISTRY.collect():  # of the process, by prometheus-client itself
        if family.name.startswith(("process_", "python_")):
            found |= {sample.name: set(sample.labels) for sample in family.samples}
    return found


EXPORTED = exported()


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_prometheus_takes_a_query_and_it_names_only_what_is_exported(name: str) -> None:
    used = names(QUERIES[name])

    assert used.metrics - {"up"} <= EXPORTED.keys()
    labels = set().union(*(EXPORTED[each] for each in used.metrics - {"up"}))
    assert used.labels - OF_PROMETHEUS <= labels


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_a_query_takes_rates_of_counters_and_of_nothing_else(name: str) -> None:
    used = names(QUERIES[name])

    assert used.rated == {each for each in used.metrics if each.endswith(("_total", "_bucket"))}


def test_every_metric_of_ours_is_looked_at() -> None:
    looked_at = set().union(*(names(query).metrics for query in QUERIES.values()))
    ours = {each for each in EXPORTED if each.startswith("thoughtflow_")}
    assert {each for each in ours if not each.endswith(("_sum", "_count"))} <= looked_at


def test_no_label_has_values_without_end() -> None:
    # Nothing that a client makes up, no id, and none that Prometheus would rename, as `service`.
    labels = set().union(*(of for name, of in EXPORTED.items() if name.startswith("thoughtflow_")))
    assert labels == {
        *("method", "route", "status", "upstream", "code", "policy", "type", "outcome", "model"),
        *("channel", "provider", "kind"),
    }


def test_a_dashboard_has_a_name_and_every_panel_a_source_and_a_place_of_its_own() -> None:
    for path in DASHBOARDS:
        dashboard = json.loads(path.read_text(encoding="utf-8"))
        assert dashboard["uid"]
        ids = [panel["id"] for panel in dashboard["panels"]]
        assert len(ids) == len(set(ids))
        cells: set[tuple[int, int]] = set()
        for panel in dashboard["panels"]:
            at = panel["gridPos"]
            assert at["x"] + at["w"] <= 24
            for x in range(at["x"], at["x"] + at["w"]):
                for y in range(at["y"], at["y"] + at["h"]):
                    assert (x, y) not in cells, panel["title"]
                    cells.add((x, y))
    assert {target["datasource"]["uid"] for _, target in panels()} == {"prometheus"}


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    names = [rule["alert"] for rule in alerts()]
    assert len(names) == len(set(names))
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == set(names)
    for rule in alerts():
        assert rule["annotations"]["runbook"] == f"docs/operations/runbooks/{rule['alert']}.md"
        assert (
            (ROOT / rule["annotations"]["runbook"]).read_text().startswith(f"# {rule['alert']}\n")
        )
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert re.fullmatch(r"\d+[smh]", rule["for"])
        assert rule["annotations"]["summary"]


def test_the_list_of_metrics_is_whole() -> None:
    told = (ROOT / "docs/operations/metrics.md").read_text(encoding="utf-8")
    ours = {name for name in EXPORTED if name.startswith("thoughtflow_")}
    families = {name.removesuffix("_bucket").removesuffix("_sum") for name in ours}
    listed = set(re.findall(r"^\| `(thoughtflow_\w+)` \|", told, re.MULTILINE))
    assert listed == {each for each in families if not each.endswith("_count")}
