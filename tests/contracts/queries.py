"""Every query of the dashboards and the alerts."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from promql_parser import (
    AggregateExpr,
    BinaryExpr,
    Call,
    Expr,
    MatrixSelector,
    VectorSelector,
    parse,
    walk,
)

from tests.contracts.tree import ROOT

OBSERVABILITY = ROOT / "deploy/observability"
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


@dataclass
class Names:
    """What a query names."""

    metrics: set[str] = field(default_factory=set)
    rated: set[str] = field(default_factory=set)
    """Those metrics of which a rate or an increase is taken."""

    labels: set[str] = field(default_factory=set)


def names(query: str) -> Names:
    """Return the names in a query.

    Raises:
        ValueError: Prometheus would not take it.
    """
    found = Names()

    def visit(expr: Expr) -> None:
        if isinstance(expr, VectorSelector):
            assert expr.name, f"{query} has a selector without a metric"
            found.metrics.add(expr.name)
            found.labels.update(matcher.name for matcher in expr.matchers.matchers)
        elif isinstance(expr, AggregateExpr) and expr.modifier:
            found.labels.update(expr.modifier.labels)
        elif isinstance(expr, BinaryExpr) and expr.modifier and expr.modifier.matching:
            found.labels.update(expr.modifier.matching.labels)
        elif isinstance(expr, Call) and expr.func.name in {"rate", "increase"}:
            (of,) = expr.args
            assert isinstance(of, MatrixSelector)
            found.rated.add(str(of.vector_selector.name))

    # Grafana fills in the interval.
    walk(parse(query.replace("$__rate_interval", "5m")), visit)
    return found
