"""docker-compose.yml: who is reached by whom, as whom, and with which settings."""

import re
from typing import Any

import pytest
import yaml

from tests.contracts.tree import ROOT, SCHEMAS, SERVICES, settings_class

TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
CONTAINERS: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = (*SERVICES, "migrate", "gemini", "stripe")
OBSERVING = ("otel-collector", "prometheus", "jaeger", "grafana")
FOR_TOO_MUCH = {"PREFETCH"}
"""Settings that services want different values of, so that one line in `.env` is no place."""

PUBLISHED = {
    "gateway": ["127.0.0.1:8000:8000"],
    "rabbitmq": ["127.0.0.1:15672:15672"],
    "gemini": ["127.0.0.1:8017:8017"],
    "stripe": ["127.0.0.1:8018:8018"],
    "grafana": ["127.0.0.1:3000:3000"],
}


def environment(container: str) -> dict[str, str | None]:
    given: dict[str, str | None] = CONTAINERS[container].get("environment", {})
    return given


def test_only_the_gateway_and_what_people_look_at_is_published_and_on_this_machine_alone() -> None:
    """W3: only the gateway listens beyond its network."""
    found = {name: each["ports"] for name, each in CONTAINERS.items() if "ports" in each}
    assert found == PUBLISHED
    assert not [name for name, each in CONTAINERS.items() if "network_mode" in each]


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_accounts_and_a_password_of_its_own(service: str) -> None:
    """W3: an account per service, and no guest."""
    password = f"${{{service.upper()}_PASSWORD:?run make up}}"
    given = environment(service)
    assert given["RABBITMQ_URL"] == f"amqp://{service}:{password}@rabbitmq:5672/"
    if service in SCHEMAS:
        place = "postgres:5432/thoughtflow"
        assert given["DATABASE_URL"] == f"postgresql://{service}:{password}@{place}"
    others = {f"${{{other.upper()}_PASSWORD" for other in (*SERVICES, "postgres", "rabbitmq")}
    others.discard(f"${{{service.upper()}_PASSWORD")
    assert not [name for name, value in given.items() if any(each in f"{value}" for each in others)]


@pytest.mark.parametrize("service", SERVICES)
def test_every_setting_of_a_service_reaches_it(service: str) -> None:
    wanted = {name.upper() for name in settings_class(service).model_fields} - FOR_TOO_MUCH
    assert wanted <= environment(service).keys()


@pytest.mark.parametrize("container", sorted(CONTAINERS))
def test_a_secret_comes_from_outside(container: str) -> None:
    """W2: the file holds none."""
    for name, value in environment(container).items():
        if re.search("PASSWORD|PASS$|SECRET|TOKEN$|KEY$|AUTH$", name) and value is not None:
            assert re.fullmatch(r"\$\{[A-Z_]+:[?-].*\}", str(value)), name
    assert "requirepass ${VALKEY_PASSWORD:?" in COMPOSE["configs"]["valkey"]["content"]


@pytest.mark.parametrize("container", OURS)
def test_what_is_ours_runs_with_as_little_as_it_needs(container: str) -> None:
    ours = CONTAINERS[container]
    assert ours["read_only"] is True
    assert ours["cap_drop"] == ["ALL"]
    assert ours["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in ours, "the image's own user is nobody special"


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_waits_for_its_schema_and_its_servers(service: str) -> None:
    awaited = {name: each["condition"] for name, each in CONTAINERS[service]["depends_on"].items()}
    assert awaited.pop("migrate") == "service_completed_successfully"
    assert awaited.keys() >= {"rabbitmq", "valkey"}
    assert set(awaited.values()) == {"service_healthy"}


def test_every_image_can_be_replaced() -> None:
    images = [each["image"] for each in CONTAINERS.values()]
    foreign = [image for image in images if not image.startswith("thoughtflow-")]
    assert len(foreign) == 7
    assert all(re.fullmatch(r"\$\{[A-Z_]+_IMAGE:-[a-z/-]+:[\w.-]+\}", image) for image in foreign)
    built = [each["build"]["args"]["BASE"] for each in CONTAINERS.values() if "build" in each]
    assert built == ["${PYTHON_IMAGE:-python:3.11-slim}"] * len(OURS)


def test_only_emulators_and_observability_are_left_out_of_production() -> None:
    profiles = {name: each["profiles"] for name, each in CONTAINERS.items() if "profiles" in each}
    assert profiles == {
        **{name: ["emulators"] for name in ("gemini", "stripe")},
        **{name: ["observability"] for name in OBSERVING},
    }


@pytest.mark.parametrize("container", sorted(CONTAINERS))
def test_every_file_that_is_mounted_exists(container: str) -> None:
    for volume in CONTAINERS[container].get("volumes", []):
        source = volume.split(":")[0]
        assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]
