"""What `check` looks at for the gateway alone: whether the services behind it are ready."""

from libs.common.checks import Finding, Findings, fetch
from services.gateway.settings import Settings, parse_addresses


async def check(settings: Settings) -> Findings:
    """Ask every address of every service."""
    for service in ("auth", "chat", "ai", "billing"):
        for host, port in parse_addresses(getattr(settings, f"{service}_url")):
            answer = await fetch(service, f"http://{host}:{port}/health/ready", {})
            if isinstance(answer, Finding):
                yield answer
            elif answer.status_code == 200:
                yield Finding(service, f"{host}:{port} is ready")
            else:
                text = f"{host}:{port} is not ready: {answer.text[:200]}"
                yield Finding(
                    service, text, f"Mend what it misses: python -m services.{service} check"
                )
