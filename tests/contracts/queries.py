"""Every query of the dashboards and the alerts."""

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from tests.contracts.tree import ROOT

OBSERVABILITY = ROOT / "deploy/observability"
PROMQL = {
    *("sum", "max", "by", "rate", "increase", "histogram_quantile", "topk", "clamp_min", "or"),
    *("vector", "and"),
}


DASHBOARDS = sorted(OBSERVABILITY.glob("grafana/dashboards/*.json"))
RULES = sorted(OBSERVABILITY.glob("rules/*.yaml"))


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            name = f"{panel['title']} ({panel['id']})"
            yield from ((name, target) for target in panel.get("targets", []))


def alerts() -> list[dict[str, Any]]:
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]


QUERIES = {
    **{f"{title}: {target['refId']}": target["expr"] for title, target in panels()},
    **{rule["alert"]: rule["expr"] for rule in alerts()},
}


def words(query: str) -> set[str]:
    """Return the names in a query: of metrics, labels and functions."""
    without_strings = re.sub(r'"[^"]*"', "", query).replace("$__rate_interval", "5m")
    return set(re.findall(r"(?<![\w.])[a-z_]\w*", without_strings)) - PROMQL
