"""Prometheus's own tool takes our files, and every alert fires when it should and only then."""

import subprocess
from pathlib import Path

import yaml

from tests.contracts.queries import OBSERVABILITY, RULES, alerts
from tests.prometheus import prometheus_bin

SCENES = Path(__file__).with_name("alerts.yaml")


def promtool(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(each) for each in (prometheus_bin() / "promtool", *arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_prometheus_takes_its_configuration_and_the_rules() -> None:
    rules = promtool("check", "rules", *RULES)
    configuration = promtool("check", "config", OBSERVABILITY / "prometheus.yaml")

    assert rules.returncode == 0, rules.stderr
    assert f"{len(alerts())} rules found" in rules.stdout
    assert configuration.returncode == 0, configuration.stderr


def test_each_alert_fires_when_it_should_and_not_before_or_after(tmp_path: Path) -> None:
    scenes = tmp_path / "alerts.yaml"
    paths = ", ".join(map(str, RULES))
    scenes.write_text(SCENES.read_text(encoding="utf-8").replace("RULES", paths))

    played = promtool("test", "rules", scenes)

    assert played.returncode == 0, played.stdout + played.stderr


def test_there_is_a_scene_for_each_alert() -> None:
    tests = yaml.safe_load(SCENES.read_text(encoding="utf-8"))["tests"]

    assert [scene["name"] for scene in tests] == [rule["alert"] for rule in alerts()]
    for scene in tests:
        assert {each["alertname"] for each in scene["alert_rule_test"]} == {scene["name"]}
        assert any(each["exp_alerts"] for each in scene["alert_rule_test"])
