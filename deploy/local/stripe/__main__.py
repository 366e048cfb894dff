"""`python -m deploy.local.stripe --port 8018 --state stripe.db`."""

import argparse
from pathlib import Path

import uvicorn

from deploy.local.stripe.app import create_app


def main() -> None:
    """Serve on 127.0.0.1 until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.stripe", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state", type=Path, help="SQLite file; without, all is in memory")
    parser.add_argument("--webhook-url", help="an endpoint for all events")
    parser.add_argument("--webhook-secret", help="what its events are signed with, whsec_...")
    args = parser.parse_args()
    if bool(args.webhook_url) != bool(args.webhook_secret):
        parser.error("--webhook-url and --webhook-secret go together: send both or neither")

    server: uvicorn.Server | None = None
    app = create_app(
        base_url=f"http://127.0.0.1:{args.port}",
        state=args.state,
        webhook_url=args.webhook_url,
        webhook_secret=args.webhook_secret,
        stopping=lambda: server is not None and server.should_exit,
    )
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host="127.0.0.1",
            port=args.port,
            access_log=False,
            log_level="warning",
            timeout_graceful_shutdown=1,
        )
    )
    server.run()


if __name__ == "__main__":
    main()
