"""`.env.example` tells the truth about the Settings classes, all of it and nothing else."""

import re

import pytest
from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo

from tests.contracts.env_example import entries
from tests.contracts.tree import ROOT, SERVICES, build, settings_class

EVERY = entries()
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
FOR_COMPOSE = {name: entry for name, entry in EVERY.items() if entry.readers == ("compose",)}
ENTRIES = {name: entry for name, entry in EVERY.items() if name not in FOR_COMPOSE}


def read_variables() -> dict[str, dict[str, FieldInfo]]:
    """Return, by variable and service, the field that reads it."""
    found: dict[str, dict[str, FieldInfo]] = {}
    for service in SERVICES:
        for name, field in settings_class(service).model_fields.items():
            found.setdefault(name.upper(), {})[service] = field
    return found


READ = read_variables()


def test_it_lists_every_variable_and_no_other() -> None:
    assert sorted(ENTRIES) == sorted(READ)


def test_it_lists_what_compose_reads_besides() -> None:
    read = set(re.findall(r"(?<!\$)\$\{([A-Z0-9_]+)", COMPOSE))
    assert set(FOR_COMPOSE) == (read - set(READ)) | {"COMPOSE_PROFILES"}


@pytest.mark.parametrize("name", sorted(FOR_COMPOSE))
def test_what_compose_reads_is_a_required_placeholder_or_has_the_default_of_compose(
    name: str,
) -> None:
    entry = FOR_COMPOSE[name]
    assert entry.required == (f"${{{name}:?" in COMPOSE)
    if entry.required:
        assert entry.value == "change-me"
        assert "Required." in entry.comment
    else:
        assert f"${{{name}:-{entry.value}}}" in COMPOSE or name == "COMPOSE_PROFILES"
        assert f"Default: {entry.value or 'none'}." in entry.comment


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_it_names_the_services_that_read_the_variable(name: str) -> None:
    assert ENTRIES[name].readers == tuple(READ[name])


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_it_tells_what_is_required_and_what_the_default_is(name: str) -> None:
    entry, fields = ENTRIES[name], READ[name].values()
    assert {field.is_required() for field in fields} == {entry.required}
    if entry.required:
        assert "Required." in entry.comment
        return
    defaults = {_as_written(field.default) for field in fields}
    assert entry.value in defaults
    assert f"Default: {entry.value or 'none'}" in entry.comment
    for default in defaults:  # services may differ; the comment then has the other one, too
        assert default in entry.comment


def _as_written(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return "" if default is None else f"{default}"


@pytest.mark.parametrize(
    "name", [name for name in sorted(ENTRIES) if name.endswith("_S") or "_TIMEOUT" in name]
)
def test_it_gives_the_unit_of_a_duration(name: str) -> None:
    assert ENTRIES[name].comment.startswith("Seconds ")


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_its_secrets_are_placeholders(name: str) -> None:
    secret = any(SecretStr in _types(field) for field in READ[name].values())
    if secret or "@" in ENTRIES[name].value:
        assert ENTRIES[name].value in {"", "change-me"} or ":change-me@" in ENTRIES[name].value


def _types(field: FieldInfo) -> tuple[object, ...]:
    return (field.annotation, *getattr(field.annotation, "__args__", ()))


@pytest.mark.parametrize("service", [service for service in SERVICES if service != "gateway"])
def test_production_refuses_it_unchanged(service: str) -> None:
    values = {name.lower(): entry.value for name, entry in ENTRIES.items() if entry.required}
    with pytest.raises(ValidationError, match=r"AUTH_SECRET|auth_secret|known or short secret"):
        build(service, environment="production", **values)
