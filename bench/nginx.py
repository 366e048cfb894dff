"""nginx as a plain reverse proxy: the gateway's reference."""

import shutil
from pathlib import Path

from deploy.local.process import Command

INSTALL = "nginx is not installed: apt install nginx"
_CONFIGURATION = """
worker_processes 1;
error_log {folder}/nginx.log warn;
pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 100000000;
    upstream service {{
        server 127.0.0.1:{upstream};
        keepalive 128;
        keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://service;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"""


def is_installed() -> bool:
    """Return whether there is an nginx to compare with."""
    return shutil.which("nginx") is not None


def command(*, port: int, upstream: int, folder: Path) -> Command:
    """Return how to start one worker on `port`; connections to the upstream are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "nginx.conf"
    file.write_text(
        _CONFIGURATION.format(folder=folder, port=port, upstream=upstream), encoding="utf-8"
    )
    program = shutil.which("nginx") or "nginx"
    arguments = ["-p", str(folder), "-e", str(folder / "start.log"), "-c", str(file)]
    return Command(
        name="nginx",
        argv=[program, *arguments, "-g", "daemon off;"],
        cwd=folder,
        env={},
        log=folder / "nginx.log",
        port=port,
        url=f"http://127.0.0.1:{port}",
        what="nginx",
    )
