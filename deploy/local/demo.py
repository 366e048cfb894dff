"""`make demo`: the main job, as a person would see it.

Sign up, log in by code, chat, meet the Basic limit, pay in the emulated Stripe, go on as Pro.
Runs against the gateway at `--url`, else against what `make run` runs, else it starts that for
itself and stops it afterwards.
"""

import argparse
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from urllib.parse import urlsplit

import httpx2
import orjson

from deploy.local import home
from deploy.local.config import ROOT, Config, ConfigError, current_config
from deploy.local.run_file import read_run_file
from deploy.local.terminal import say

START_TIMEOUT_S = 180
PRO_WITHIN_S = 2.0
MESSAGE = "Hello! What is Thoughtflow, in a few words?"


class DemoError(RuntimeError):
    """A step did not do what it should; the message says which."""


def main() -> int:
    """Run the demo; return 0 if every step did what it should."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--url", help="where the gateway is, e.g. http://127.0.0.1:8000")
    url = parser.parse_args().url
    try:
        with nullcontext(url) if url else _running_stack(current_config()) as gateway:
            _Demo(gateway).run()
    except (DemoError, ConfigError, httpx2.HTTPError) as problem:
        say(f"\nThe demo failed: {problem}", mood="bad")
        return 1
    except KeyboardInterrupt:
        return 1
    return 0


@contextmanager
def _running_stack(config: Config) -> Iterator[str]:
    """Yield the gateway of the running stack, or of one that lives for the block."""
    if home.launcher(config.home) is not None:
        yield _wait_until_ready(config, lambda: home.launcher(config.home) is None)
        return
    say("Nothing runs yet: starting a stack for the demo (make run does it for you).")
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy.local", "run"],
        cwd=ROOT,
        env={**os.environ, "MAKELEVEL": "1"},  # then it stops when this process dies
    )
    try:
        yield _wait_until_ready(config, lambda: process.poll() is not None)
    finally:
        say("\nStopping the stack that the demo started.")
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _wait_until_ready(config: Config, has_ended: Callable[[], bool]) -> str:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if has_ended():
            raise DemoError("the stack did not start; what make run printed says why")
        content = read_run_file(home.run_path(config.home))
        if content is not None and content["ready"]:
            return str(content["urls"]["gateway"])
        time.sleep(0.2)
    raise DemoError(f"the stack was not ready within {START_TIMEOUT_S} s")


class _Demo:
    """One new user's first five minutes."""

    def __init__(self, gateway: str) -> None:
        self._http = httpx2.Client(base_url=gateway, timeout=30)
        self._email = f"demo-{secrets.token_hex(4)}@example.com"

    def run(self) -> None:
        self._log_in()
        room = self._create_room()
        self._follow(self._post(room, MESSAGE))
        self._use_up_the_day(room)
        self._pay()
        self._wait_for_pro()
        fresh = self._create_room()
        self._follow(self._post_as_pro(fresh, "I am Pro now. Say something nice!"))
        status = self._call("GET", "/subscription/status")
        say(f"\nDone: the plan is {status['plan'].capitalize()}", mood="good")

    def _log_in(self) -> None:
        self._step("Sign up", f"POST /auth/signup {self._email}")
        self._call("POST", "/auth/signup", {"email": self._email, "name": "Demo"})
        code = self._call("POST", "/auth/send-otp", {"email": self._email})["otp"]
        self._step("One-time code", f"{code} (in the answer, because OTP_SENDER is mock)")
        tokens = self._call("POST", "/auth/verify-otp", {"email": self._email, "otp": code})
        self._http.headers["authorization"] = f"Bearer {tokens['access_token']}"
        me = self._call("GET", "/user/me")
        self._step("Token", f"for {me['email']}, valid for {tokens['expires_in']} s")

    def _create_room(self) -> str:
        room = self._call("POST", "/chatroom", {"title": "Demo"})
        self._step("Chatroom", str(room["id"]))
        return str(room["id"])

    def _post(self, room: str, content: str) -> str:
        self._step("Message", content)
        accepted = self._call("POST", f"/chatroom/{room}/message", {"content": content})
        return str(accepted["stream_url"])

    def _post_as_pro(self, room: str, content: str) -> str:
        """Post as soon as the plan has reached chat too, which hears of it by an event."""
        deadline = time.monotonic() + PRO_WITHIN_S
        while True:
            answer = self._http.post(f"/chatroom/{room}/message", json={"content": content})
            if answer.status_code == 202:
                self._step("Message", content)
                return str(answer.json()["stream_url"])
            if answer.status_code != 429 or time.monotonic() > deadline:
                raise DemoError(f"a Pro's message was answered {answer.status_code}: {answer.text}")
            time.sleep(0.05)

    def _follow(self, stream_url: str) -> None:
        """Print the reply word by word, as it is written."""
        self._step("Reply", "")
        sys.stdout.write("    ")
        with self._http.stream("GET", stream_url) as response:
            if response.status_code != 200:
                raise DemoError(f"{stream_url} answered {response.status_code}")
            for line in response.iter_lines():
                if line.startswith("data:"):
                    event = orjson.loads(line.removeprefix("data:"))
                    if self._show(event):
                        return
        raise DemoError("the reply's stream ended without an end")

    def _show(self, event: dict[str, Any]) -> bool:
        """Print what is new; true when the reply is complete."""
        match event["type"]:
            case "message.delta" | "generation.snapshot":
                sys.stdout.write(str(event.get("text", "")).replace("\n", "\n    "))
                sys.stdout.flush()
            case "generation.completed":
                sys.stdout.write("\n")
                return True
            case "generation.failed":
                raise DemoError(f"the reply failed: {event.get('problem')}")
        return False

    def _use_up_the_day(self, room: str) -> None:
        for sent in range(1, 1000):
            answer = self._http.post(f"/chatroom/{room}/message", json={"content": f"Count {sent}"})
            if answer.status_code == 429 and answer.json()["code"] == "daily_limit_reached":
                self._step("Basic limit", f"after {sent} messages: {answer.json()['detail']}")
                return
            if answer.status_code != 202:
                raise DemoError(f"a message was answered {answer.status_code}: {answer.text}")
        raise DemoError("the Basic plan never refused")

    def _pay(self) -> None:
        checkout = self._call("POST", "/subscribe/pro", {})
        self._step("Checkout", f"{checkout['checkout_url']}")
        page = urlsplit(checkout["checkout_url"])
        if page.hostname != "127.0.0.1":
            raise DemoError("this is the real Stripe: pay on the page above, then look again")
        pay = f"{page.scheme}://{page.netloc}/_emulator/pay/{checkout['session_id']}"
        paid = httpx2.post(pay, json={"outcome": "paid"})
        if paid.status_code != 200:
            raise DemoError(f"paying was answered {paid.status_code}: {paid.text}")
        self._step("Paid", "in the emulated Stripe, no real money")

    def _wait_for_pro(self) -> None:
        started = time.monotonic()
        while (waited := time.monotonic() - started) < PRO_WITHIN_S:
            status = self._call("GET", "/subscription/status")
            if status["plan"] == "pro":
                self._step("Pro", f"after {waited:.2f} s, {status['status']}")
                return
            time.sleep(0.05)
        raise DemoError(f"not Pro {PRO_WITHIN_S} s after paying")

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        response = self._http.request(method, path, json=body)
        if response.status_code >= 400:
            raise DemoError(f"{method} {path} answered {response.status_code}: {response.text}")
        answer: dict[str, Any] = response.json()
        return answer

    def _step(self, name: str, text: str) -> None:
        say(f"{name:<14} {text}")


if __name__ == "__main__":
    sys.exit(main())
