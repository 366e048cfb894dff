"""A service or an emulator in a few lines: `fake_program.py NAME [migrate | --port N ...]`."""

import http.server
import json
import os
import signal
import sys

from typing_extensions import override


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = json.dumps(dict(os.environ)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Server(http.server.ThreadingHTTPServer):
    @override
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of probes that hang up."""


def main() -> None:
    name = sys.argv[1]
    if os.environ.get("BAD_SETTING") == " ".join(sys.argv[1:3]):
        sys.exit(f"{name}: BAD_SETTING must be better than that")
    if "migrate" in sys.argv:
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    port = sys.argv[sys.argv.index("--port") + 1] if "--port" in sys.argv else os.environ["PORT"]
    print(f"{name} listens", flush=True)
    Server(("127.0.0.1", int(port)), Handler).serve_forever()


main()
