"""`python -m deploy.local.gemini --port N`: serve the emulator."""

import argparse
import contextlib
import logging
import signal
import socket
import sys

import uvicorn
from typing_extensions import override

from deploy.local.gemini.answers import Pace
from deploy.local.gemini.app import Emulator, create_app


class _Server(uvicorn.Server):
    """Hangs up on open streams when told to stop; uvicorn would wait for their end."""

    def __init__(self, config: uvicorn.Config, emulator: Emulator) -> None:
        super().__init__(config)
        self._emulator = emulator

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._emulator.audience.hang_up()
        await super().shutdown(sockets)


def _is_no_drop(record: logging.LogRecord) -> bool:
    """Pass all but uvicorn's complaint about a response that was dropped on purpose."""
    return not record.getMessage().startswith("ASGI callable returned without")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="deploy.local.gemini", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument(
        "--first-token-ms", type=float, default=120, help="before a reply begins (0 for benches)"
    )
    parser.add_argument(
        "--chunk-ms", type=float, default=40, help="between two chunks of a reply (0 for benches)"
    )
    parser.add_argument("--log-size", type=int, default=1000, help="requests kept to be shown")
    return parser.parse_args()


def main() -> None:
    """Serve until SIGTERM or SIGINT, then exit with 0 at once, streams open or not."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    args = _arguments()
    emulator = Emulator(Pace(args.first_token_ms / 1000, args.chunk_ms / 1000), args.log_size)
    logging.getLogger("uvicorn.error").addFilter(_is_no_drop)
    config = uvicorn.Config(
        create_app(emulator),
        host=args.host,
        port=args.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    print(f"Gemini emulator on http://{args.host}:{args.port} (not Google)", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        _Server(config, emulator).run()


if __name__ == "__main__":
    main()
