"""The Helm chart, rendered by Helm itself and held to the schemas of Kubernetes."""

from collections.abc import Iterator
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from helm_python import Chart, HelmError, lint
from pydantic import SecretStr

from libs.common.events import MessagePosted, PriorityMessagePosted
from libs.common.topology import queue
from tests.contracts.tree import ROOT, SCHEMAS, SERVICES, build, settings_class

CHART = ROOT / "deploy/helm/thoughtflow"
VERSIONS = ("1.29", "1.37")
"""The oldest that the chart admits, and the newest that the package has schemas of."""

VALUES: dict[str, Any] = {
    "config": {"PUBLIC_URL": "https://chat.example.com"},
    "networkPolicy": {"metrics": [{"namespaceSelector": {}}]},
}
WORD = "x" * 16
STORES = {
    "REDIS_URL": f"redis://:{WORD}@valkey:6379/0",
    "RABBITMQ_URL": f"amqp://role:{WORD}@rabbitmq:5672/",
}
WITH_DATABASE = STORES | {"DATABASE_URL": f"postgresql://role:{WORD}@postgres/thoughtflow"}
STRIPE = {
    "STRIPE_SECRET_KEY": WORD,
    "STRIPE_WEBHOOK_SECRET": WORD,
    "STRIPE_PRO_PRICE_ID": "price_1",
}
SMTP = {"SMTP_URL": f"smtps://me:{WORD}@mail.example.com:465", "SMTP_FROM": "me@example.com"}
SECRETS: dict[str, dict[str, str]] = {
    "gateway": STORES,
    "auth": WITH_DATABASE | {"AUTH_SECRET": WORD} | SMTP,
    "chat": WITH_DATABASE,
    "ai": WITH_DATABASE | {"GEMINI_API_KEY": WORD},
    "billing": WITH_DATABASE | STRIPE,
}
"""What docs/operations/kubernetes.md tells to put into each service's Secret."""

Document = dict[str, Any]


def rendered(values: dict[str, Any]) -> Iterator[Document]:
    with Chart.load(CHART) as chart:
        for text in chart.render(values=values, name="demo").values():
            yield from (document for document in yaml.safe_load_all(text) if document)


DOCUMENTS = list(rendered(VALUES))


def kinds(kind: str) -> dict[str, Document]:
    """Return the documents of a kind by the service they are for."""
    found = [each for each in DOCUMENTS if each["kind"] == kind]
    return {each["metadata"]["labels"]["app.kubernetes.io/component"]: each for each in found}


def pods() -> dict[str, Document]:
    """Return what each pod is made from, the migration's too."""
    owners = kinds("Deployment") | kinds("Job")
    return {name: owner["spec"]["template"] for name, owner in owners.items()}


def environment(container: Document) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container["env"]}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "document",
    [each for each in DOCUMENTS if each["kind"] != "ScaledObject"],  # KEDA's, not Kubernetes' own
    ids=lambda each: f"{each['kind']}-{each['metadata']['name']}",
)
def test_kubernetes_knows_every_field(document: Document, version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


def test_helm_finds_no_fault() -> None:
    assert lint(CHART, VALUES, strict=True)["errors"] == []


def test_there_is_all_that_a_service_needs() -> None:
    for kind in ("Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"):
        assert kinds(kind).keys() >= set(SERVICES), kind
    assert kinds("HorizontalPodAutoscaler").keys() == {"gateway", "chat"}
    assert kinds("Job").keys() == {"migrate"}


@pytest.mark.parametrize("missing", ["config", "services"])
def test_what_has_no_default_is_asked_for(missing: str) -> None:
    values: dict[str, Any] = {
        "config": {"config": {"PUBLIC_URL": ""}},
        "services": VALUES | {"services": {"ai": {"existingSecret": ""}}},
    }[missing]
    with pytest.raises(HelmError, match=r"say where people reach|name the Secret"):
        list(rendered(values))


@pytest.mark.parametrize("name", [*SERVICES, "migrate"])
def test_a_pod_is_nobody_special_and_writes_nowhere(name: str) -> None:
    spec = pods()[name]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_restarted_for_its_own_faults_and_spared_for_those_of_its_stores(
    service: str,
) -> None:
    """O1: liveness does not depend on PostgreSQL, RabbitMQ or Redis; readiness does."""
    spec = pods()[service]["spec"]
    (container,) = spec["containers"]
    paths = {
        probe: container[f"{probe}Probe"]["httpGet"]["path"]
        for probe in ("liveness", "startup", "readiness")
    }
    assert paths == {
        "liveness": "/health/live",
        "startup": "/health/live",
        "readiness": "/health/ready",
    }
    assert spec["terminationGracePeriodSeconds"] >= 5 + 30


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_outlives_the_loss_of_a_node(service: str) -> None:
    deployment, budget = kinds("Deployment")[service], kinds("PodDisruptionBudget")[service]
    scaler = {**kinds("HorizontalPodAutoscaler"), **kinds("ScaledObject")}.get(service)
    if scaler is None:
        assert deployment["spec"]["replicas"] >= 2
    else:
        assert "replicas" not in deployment["spec"], "an upgrade would undo what the scaler did"
        least = scaler["spec"].get("minReplicas", scaler["spec"].get("minReplicaCount"))
        assert least >= 2
        assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert budget["spec"]["maxUnavailable"] == 1
    assert budget["spec"]["selector"] == deployment["spec"]["selector"]


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_starts_in_production_with_the_chart_and_its_secret(service: str) -> None:
    (container,) = pods()[service]["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": f"thoughtflow-{service}"}}]
    given = environment(container)
    assert not given.keys() & SECRETS[service].keys()
    values = {name.lower(): value for name, value in (given | SECRETS[service]).items()}

    settings = build(service, **values)

    assert settings.environment == "production"
    secret = {
        name.upper()
        for name, field in settings_class(service).model_fields.items()
        if SecretStr in (field.annotation, *getattr(field.annotation, "__args__", ()))
    }
    assert not secret & given.keys()


@pytest.mark.parametrize("service", SERVICES)
def test_the_document_names_what_a_secret_holds(service: str) -> None:
    text = (ROOT / "docs/operations/kubernetes.md").read_text(encoding="utf-8")
    (row,) = [line for line in text.splitlines() if line.startswith(f"| `thoughtflow-{service}` |")]
    assert [name for name in SECRETS[service] if f"`{name}`" not in row] == []


def test_schemas_are_up_to_date_before_anything_of_a_release_starts() -> None:
    job = kinds("Job")["migrate"]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    containers = {each["name"]: each for each in job["spec"]["template"]["spec"]["containers"]}
    assert containers.keys() == set(SCHEMAS)
    for service, container in containers.items():
        (serving,) = pods()[service]["spec"]["containers"]
        assert container["command"] == ["python", "-m", f"services.{service}", "migrate"]
        for same in ("image", "env", "envFrom"):
            assert container[same] == serving[same]


def test_ai_is_scaled_by_the_prompts_that_wait() -> None:
    scaled = kinds("ScaledObject")
    assert scaled.keys() == {"ai"}
    triggers = scaled["ai"]["spec"]["triggers"]
    watched = [trigger["metadata"]["queueName"] for trigger in triggers]
    assert watched == [queue("ai", event).name for event in (MessagePosted, PriorityMessagePosted)]
    for trigger in triggers:
        assert trigger["type"] == "rabbitmq"
        assert trigger["metadata"]["mode"] == "QueueLength"
        assert trigger["metadata"]["hostFromEnv"] in SECRETS["ai"]
    (container,) = pods()["ai"]["spec"]["containers"]
    prefetch = int(environment(container)["PREFETCH"])
    assert prefetch < settings_class("ai").model_fields["prefetch"].default, "or none would wait"


@pytest.mark.parametrize("name", [*SERVICES, "migrate"])
def test_every_pod_is_under_a_policy_that_refuses_what_it_does_not_name(name: str) -> None:
    policy = kinds("NetworkPolicy")[name]["spec"]
    assert (
        policy["podSelector"]["matchLabels"].items() <= pods()[name]["metadata"]["labels"].items()
    )
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert all(rule.get("ports") for rule in [*policy["ingress"], *policy["egress"]])


def test_only_the_gateway_can_be_reached_from_outside() -> None:
    """W3: whoever is not of this release reaches the gateway alone, and /metrics if told so."""
    metrics = VALUES["networkPolicy"]["metrics"]
    for name, policy in kinds("NetworkPolicy").items():
        rules = [rule for rule in policy["spec"]["ingress"] if rule.get("from") != metrics]
        scraped = [rule for rule in policy["spec"]["ingress"] if rule.get("from") == metrics]
        port = 9000 if name == "gateway" else 8000
        if name != "migrate":
            assert [rule["ports"] for rule in scraped] == [[{"port": port}]]
        if name == "gateway":
            assert rules == [{"ports": [{"port": 8000}]}]
            continue
        callers = [peer["podSelector"]["matchLabels"] for rule in rules for peer in rule["from"]]
        assert all(each["app.kubernetes.io/instance"] == "demo" for each in callers)
        names = {each["app.kubernetes.io/component"] for each in callers}
        expected = {"auth": set(SERVICES) - {"auth"}, "migrate": set()}
        assert names == expected.get(name, {"gateway"})


def test_the_internet_is_reached_by_those_who_call_somebody_there() -> None:
    policies = kinds("NetworkPolicy").items()
    outside = {
        name
        for name, policy in policies
        if any(
            "ipBlock" in peer for rule in policy["spec"]["egress"] for peer in rule.get("to", [])
        )
    }
    assert outside == {"auth", "ai", "billing"}
