"""Which process listens where: a block of ports from the gateway's on, the same at every start."""

import json
from collections.abc import Mapping
from pathlib import Path

from deploy.local.config import BLOCK, Config
from deploy.local.ports import is_free, next_free

OFFSETS = {
    "gateway": 0,
    "auth": 1,
    "chat": 2,
    "ai": 3,
    "billing": 4,
    "gateway-metrics": 5,
    "postgres": 10,
    "valkey": 11,
    "rabbitmq": 12,
    "management": 13,
    "epmd": 14,
    "dist": 15,  # rabbitmqctl uses 20 to 40
    "gemini": 17,
    "stripe": 18,
}
REPLICAS = 50


def plan_ports(config: Config) -> tuple[dict[str, int], list[str]]:
    """Choose a port for every process and remember the choice in the home.

    Returns:
        The ports by name, and the names whose usual port somebody else has.
    """
    memory = config.home / "ports.json"
    remembered = _recall(memory, config.first_port)
    ports: dict[str, int] = {}
    moved = []
    for name, usual in _usual(config).items():
        wishes = (remembered.get(name, usual), usual)
        port = next((p for p in wishes if p not in ports.values() and is_free(p)), None)
        if port is None:
            port = next_free(config.first_port + BLOCK, taken=ports.values())
        if port != usual:
            moved.append(name)
        ports[name] = port
    memory.write_text(json.dumps({"first": config.first_port, "ports": ports}), encoding="utf-8")
    return ports, moved


def _usual(config: Config) -> Mapping[str, int]:
    extra = [name for name, service in config.instances() if name != service]
    extra += [f"{name}-metrics" for name in extra if name.startswith("gateway-")]
    offsets = OFFSETS | {name: REPLICAS + number for number, name in enumerate(extra)}
    return {name: config.first_port + offset for name, offset in offsets.items()}


def _recall(memory: Path, first_port: int) -> dict[str, int]:
    """Return the ports of the last run, none if it was another block or the file is damaged."""
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return dict(known["ports"]) if known["first"] == first_port else {}
