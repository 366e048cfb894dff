"""The table of processes: what each of them is, and the environment it gets."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.local.config import ROOT, SERVICES, Config
from deploy.local.passwords import Passwords
from deploy.local.ports import RabbitMQPorts
from deploy.local.preload import COMMON, LIBRARIES
from deploy.local.process import Command
from deploy.local.rabbitmq import RabbitMQ
from deploy.local.server import answers
from deploy.local.servers import Postgres, Valkey

WITH_DATABASE = ("auth", "chat", "ai", "billing")


@dataclass(frozen=True)
class Programs:
    """How to run what is ours; tests put small programs in their place."""

    service: Callable[[str], list[str]] = lambda name: [sys.executable, "-m", f"services.{name}"]
    emulator: Callable[[str], list[str]] = lambda name: [
        sys.executable,
        *("-m", f"deploy.local.{name}"),
    ]


class Stack:
    """Every process of one home, on the ports it was given."""

    def __init__(
        self, config: Config, ports: Mapping[str, int], passwords: Passwords, programs: Programs
    ) -> None:
        self.config = config
        self.ports = ports
        self._passwords = passwords
        self._programs = programs
        home = config.home
        self.postgres = Postgres(
            home / "postgres", port=ports["postgres"], password=passwords["postgres"]
        )
        self.valkey = Valkey(home / "valkey", port=ports["valkey"], password=passwords["valkey"])
        self.rabbitmq = RabbitMQ(
            home / "rabbitmq",
            ports=RabbitMQPorts(
                ports["rabbitmq"], ports["management"], ports["epmd"], ports["dist"]
            ),
            password=passwords["rabbitmq"],
        )

    @property
    def gateway_url(self) -> str:
        """Where clients go."""
        return self._http("gateway")

    def urls(self) -> dict[str, str]:
        """Return where everything is, the administrators' passwords included."""
        urls = {
            "gateway": self.gateway_url,
            "postgres": self.postgres.url.removesuffix("/postgres") + "/thoughtflow",
            "valkey": self.valkey.url,
            "rabbitmq": self.rabbitmq.url,
            "management": self.rabbitmq.management_url,
        }
        return urls | {command.name: command.url for command in self.emulators()}

    def log(self, name: str) -> Path:
        """Return a process's log file."""
        return self.config.home / "logs" / f"{name}.log"

    def emulators(self) -> list[Command]:
        """Return the emulators of what the user gave no key for."""
        commands = []
        if self.config.emulates_gemini:
            commands.append(self._emulator("gemini", "Gemini emulator"))
        if self.config.emulates_stripe:
            webhook = ["--webhook-url", f"{self.gateway_url}/webhook/stripe"]
            folder = self.config.home / "stripe"
            folder.mkdir(exist_ok=True)
            state = ["--state", str(folder / "state.json")]
            # Not an argument: any user of the machine may read those.
            name = "STRIPE_WEBHOOK_SECRET"
            secret = {name: self._shared()[name]}
            stripe = self._emulator("stripe", "Stripe emulator", *state, *webhook, **secret)
            commands.append(stripe)
        return commands

    def fork_server(self) -> Command:
        """Return what forks services and emulators.

        What Python, its libraries and the C library read from the environment when they start, they
        read from the user's.
        """
        return Command(
            name="fork-server",
            argv=[sys.executable, "-m", "deploy.local.fork_server", *LIBRARIES, *COMMON],
            cwd=ROOT,
            env={
                **self.config.environment,
                "PYTHONUNBUFFERED": "1",
                "ROOM": " " * 16_384,  # where /proc will show the programs' environments
            },
            log=self.log("fork-server"),
            port=0,
            url="",
        )

    def services(self) -> list[Command]:
        """Return every replica of every service, the gateways last."""
        return [
            Command(
                name=name,
                argv=self._programs.service(service),
                cwd=ROOT,
                env=self._environment(name, service),
                log=self.log(name),
                port=self.ports[name],
                url=self._http(name),
                what=f"{service} service",
            )
            for name, service in self.config.instances()
        ]

    def migrations(self) -> list[Command]:
        """Return the migration of each service that has a database."""
        return [
            Command(
                name=f"{service}-migrate",
                argv=[*self._programs.service(service), "migrate"],
                cwd=ROOT,
                env=self._environment(service, service),
                log=self.log(f"{service}-migrate"),
                port=self.ports["postgres"],
                url=f"postgresql://127.0.0.1:{self.ports['postgres']}/thoughtflow",
            )
            for service in WITH_DATABASE
        ]

    def database_accounts(self) -> Command:
        """Return what makes the roles and schemas of the services."""
        env = {
            "POSTGRES_URL": self.postgres.url,
            "PASSWORDS": json.dumps(self.database_passwords()),
        }
        return self._accounts("database", env, self.ports["postgres"])

    def broker_accounts(self) -> Command:
        """Return what makes the services' accounts in RabbitMQ."""
        env = {
            "MANAGEMENT_URL": self.rabbitmq.management_url,
            "RABBITMQ_PASSWORD": self.rabbitmq.password,
            "PASSWORDS": json.dumps(self.broker_passwords()),
        }
        return self._accounts("broker", env, self.ports["management"])

    def database_passwords(self) -> dict[str, str]:
        """Return the password of each database role."""
        return {service: self._passwords[f"postgres_{service}"] for service in WITH_DATABASE}

    def broker_passwords(self) -> dict[str, str]:
        """Return the password of each service's broker account."""
        return {service: self._passwords[f"rabbitmq_{service}"] for service in SERVICES}

    def management_login(self) -> str:
        """Return the login of the management UI for people."""
        return f"thoughtflow / {self._passwords['rabbitmq']}"

    def _http(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def _emulator(self, name: str, what: str, *options: str, **values: str) -> Command:
        return Command(
            name=name,
            argv=[*self._programs.emulator(name), "--port", str(self.ports[name]), *options],
            cwd=ROOT,
            env={**self.config.environment, **values},
            log=self.log(name),
            port=self.ports[name],
            url=self._http(name),
            what=what,
        )

    def _accounts(self, server: str, env: Mapping[str, str], port: int) -> Command:
        name = f"{server}-accounts"
        return Command(
            name=name,
            argv=[sys.executable, "-m", "deploy.local.accounts", server],
            cwd=ROOT,
            env=env,
            log=self.log(name),
            port=port,
            url="",
        )

    def _environment(self, name: str, service: str) -> dict[str, str]:
        """Return a service's environment: our defaults, then the user's values, then our URLs."""
        metrics = (
            {"METRICS_PORT": str(self.ports[f"{name}-metrics"])} if service == "gateway" else {}
        )
        return {
            **self._defaults(),
            **self.config.environment,
            **self._private_urls(service),
            **metrics,
            "HOST": "127.0.0.1",
            "PORT": str(self.ports[name]),
            "PYTHONUNBUFFERED": "1",
        }

    def _shared(self) -> dict[str, str]:
        return {**self._defaults(), **self.config.environment}

    def _defaults(self) -> dict[str, str]:
        defaults = {
            "ENVIRONMENT": "development",
            "LOG_LEVEL": "INFO",
            "OTP_SENDER": "mock",
            "AUTH_SECRET": self._passwords["auth_secret"],
            "PUBLIC_URL": self.gateway_url,
        }
        if self.config.emulates_gemini:
            defaults |= {"GEMINI_API_KEY": "emulator", "GEMINI_BASE_URL": self._http("gemini")}
        if self.config.emulates_stripe:
            defaults |= {
                "STRIPE_SECRET_KEY": "sk_test_emulator",
                "STRIPE_API_BASE": self._http("stripe"),
                "STRIPE_WEBHOOK_SECRET": f"whsec_{self._passwords['stripe_webhook']}",
                "STRIPE_PRO_PRICE_ID": "price_pro_monthly",
                "STRIPE_PRO_ANNUAL_PRICE_ID": "price_pro_yearly",
            }
        return defaults

    def _private_urls(self, service: str) -> dict[str, str]:
        broker = f"{service}:{self._passwords[f'rabbitmq_{service}']}"
        urls = {
            "RABBITMQ_URL": f"amqp://{broker}@127.0.0.1:{self.ports['rabbitmq']}/",
            "REDIS_URL": self.valkey.url,
            "JWKS_URL": f"{self._http('auth')}/.well-known/jwks.json",
        }
        if service == "gateway":
            return urls | {f"{of.upper()}_URL": self._upstreams(of) for of in WITH_DATABASE}
        database = f"{service}:{self._passwords[f'postgres_{service}']}"
        address = f"127.0.0.1:{self.ports['postgres']}/thoughtflow"
        return urls | {"DATABASE_URL": f"postgresql://{database}@{address}"}

    def _upstreams(self, service: str) -> str:
        return ",".join(self._http(name) for name, of in self.config.instances() if of == service)


def is_healthy(port: int) -> bool:
    """Return whether a service answers 200 to its readiness check."""
    return _answers_http(port, "/health/ready", b"HTTP/1.1 200")


def speaks_http(port: int) -> bool:
    """Return whether an HTTP server answers at all."""
    return _answers_http(port, "/", b"HTTP/1.1 ")


def _answers_http(port: int, path: str, expected: bytes) -> bool:
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
    return answers(port, request.encode(), expected)
