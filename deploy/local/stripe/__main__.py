"""`python -m deploy.local.stripe --port 8018 --state stripe.db`.

STRIPE_WEBHOOK_SECRET is what the events for `--webhook-url` are signed with.
"""

import argparse
import os
from pathlib import Path

import uvicorn

from deploy.local.stripe.app import create_app


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.stripe", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state", type=Path, help="SQLite file; without, all is in memory")
    parser.add_argument("--webhook-url", help="an endpoint for all events")
    args = parser.parse_args()
    webhook_secret = os.environ.get("STRIPE_WEBHOOK_SECRET")
    if args.webhook_url and not webhook_secret:
        parser.error("--webhook-url needs STRIPE_WEBHOOK_SECRET (whsec_...) in the environment")

    server: uvicorn.Server | None = None
    app = create_app(
        base_url=f"http://127.0.0.1:{args.port}",
        state=args.state,
        webhook_url=args.webhook_url,
        webhook_secret=webhook_secret,
        stopping=lambda: server is not None and server.should_exit,
    )
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=args.host,
            port=args.port,
            access_log=False,
            log_level="warning",
            timeout_graceful_shutdown=1,
        )
    )
    server.run()


if __name__ == "__main__":
    main()
