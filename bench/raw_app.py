"""`python -m bench.raw_app PORT FILE`: fixed bytes by path, the least that ASGI can do.

FILE is a JSON object of path and body. The app plays auth for the measured services (its keys and
`/user/me`), is what both proxies forward to, and is the reference for cached answers.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import uvicorn
from starlette.types import Receive, Scope, Send

from deploy.local.config import ROOT
from deploy.local.process import Command


class FixedAnswers:
    """An ASGI app that knows its answers by heart."""

    def __init__(self, answers: Mapping[str, str]) -> None:
        self._answers = {path: _messages(body.encode()) for path, body in answers.items()}

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer one request; a path that is not in the file is a KeyError, and so a 500."""
        start, body = self._answers[scope["path"]]
        await send(start)
        await send(body)


def command(name: str, *, port: int, answers: Mapping[str, str], folder: Path) -> Command:
    """Return how to start the app with these answers."""
    file = folder / f"{name}.json"
    file.write_text(json.dumps(answers), encoding="utf-8")
    return Command(
        name=name,
        argv=[sys.executable, "-m", "bench.raw_app", str(port), str(file)],
        cwd=ROOT,
        env={},
        log=folder / f"{name}.log",
        port=port,
        url=f"http://127.0.0.1:{port}",
        what="a raw ASGI app",
    )


def _messages(body: bytes) -> tuple[dict[str, object], dict[str, object]]:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    start = {"type": "http.response.start", "status": 200, "headers": headers}
    return start, {"type": "http.response.body", "body": body}


def main() -> None:
    """Serve as the services are served, until SIGTERM."""
    port, file = sys.argv[1:]
    uvicorn.run(
        FixedAnswers(json.loads(Path(file).read_text(encoding="utf-8"))),
        port=int(port),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
    )


if __name__ == "__main__":
    main()
