"""What the fork server imports: what at least two of the services and emulators use.

A library that one of them alone uses would be there twice. Besides packages the list names what
they would import later, one by one, when they are first used.
"""

from deploy.local.config import ROOT

COMMON = tuple(
    f"libs.common.{path.stem}"
    for path in sorted((ROOT / "libs/common").glob("*.py"))
    if path.stem not in {"__init__", "testing"}
)
LIBRARIES = (
    "aio_pika",
    "anyio._backends._asyncio",
    "anyio.streams.tls",
    "asyncpg",
    "cryptography.hazmat.primitives.asymmetric.ed25519",
    "email.headerregistry",
    "fastapi.openapi.utils",
    "fastapi.telemetry._runtime",
    "faststream.rabbit",
    "hiredis",
    "httpcore",
    "httpcore2._async",
    "httpcore2._sync",
    "httpx",
    "httpx2",
    "jwt",
    "orjson",
    "prometheus_client",
    "pydantic.v1",  # FastAPI asks of every type whether it is one of these
    "pydantic_settings",
    "redis.asyncio",
    "structlog",
    "uuid_utils.compat",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
)
