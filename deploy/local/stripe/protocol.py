"""What all calls under /v1 have in common: keys, idempotency, faults, expansion, errors."""

import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from deploy.local.stripe import forms
from deploy.local.stripe.account import Account
from deploy.local.stripe.errors import (
    JSON,
    CardError,
    IdempotencyError,
    InvalidRequestError,
    StripeError,
    UnauthenticatedError,
)
from deploy.local.stripe.expand import expand
from deploy.local.stripe.faults import Faults
from deploy.local.stripe.objects.wire import API_VERSION, new_id, public
from deploy.local.stripe.params import Params

ANSWER_KEPT_S = 86_400
_KEYS = ("sk_test_", "rk_test_")


@dataclass(frozen=True)
class Call:
    """One authenticated request to the API.

    Attributes:
        account: the account it works on.
        ids: the parameters of the path.
        params: of the query or the form, without `expand`.
    """

    account: Account
    ids: dict[str, str]
    params: Params


Handler = Callable[[Call], JSON]


def endpoint(
    account: Account, faults: Faults, handler: Handler
) -> Callable[[Request], Awaitable[Response]]:
    """Return the Starlette endpoint that serves `handler` by Stripe's rules."""

    async def serve(request: Request) -> Response:
        request_id = new_id("req")
        headers = {"Request-Id": request_id, "Stripe-Version": API_VERSION}
        try:
            status, body, replayed = await _answer(account, faults, handler, request, request_id)
        except StripeError as error:
            return JSONResponse(error.body(request_id), error.status, headers)
        if replayed:
            headers["Idempotent-Replayed"] = "true"
        return JSONResponse(body, status, headers)

    return serve


async def _answer(
    account: Account, faults: Faults, handler: Handler, request: Request, request_id: str
) -> tuple[int, JSON, bool]:
    """Return status, body, and whether they are those of an earlier request."""
    _authenticate(request)
    text = (await request.body()).decode(errors="replace") or request.url.query
    fault = faults.take(request.url.path)
    if fault is not None and not fault.after:
        raise await faults.strike(fault, request)
    key = request.headers.get("idempotency-key") if request.method == "POST" else None
    with account.store.transaction(), account.caused_by(request_id, key):
        answer = _replay(account, request, text, key)
        replayed = answer is not None
        if answer is None:
            answer = _run(account, handler, request, text, request_id)
            _remember(account, request, text, key, answer)
    if fault is not None:
        raise await faults.strike(fault, request)
    return *answer, replayed


def _authenticate(request: Request) -> None:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.startswith(_KEYS):
        raise UnauthenticatedError(
            "Invalid API Key. Send 'Authorization: Bearer sk_test_...'; any test key will do here."
        )


def _run(
    account: Account, handler: Handler, request: Request, text: str, request_id: str
) -> tuple[int, JSON]:
    values = forms.decode(text)
    paths = Params(values).texts("expand")
    values.pop("expand", None)
    try:
        body = handler(Call(account, dict(request.path_params), Params(values)))
    except CardError as error:
        # A decline is a result: it is kept for the idempotency key, and so are its events.
        return error.status, error.body(request_id)
    return 200, expand(account, public(body), paths)


def _fingerprint(request: Request, text: str) -> str:
    return hashlib.sha256(f"{request.method} {request.url.path}\n{text}".encode()).hexdigest()


def _replay(
    account: Account, request: Request, text: str, key: str | None
) -> tuple[int, JSON] | None:
    if key is None:
        return None
    if len(key) > 255:
        raise InvalidRequestError("An Idempotency-Key has at most 255 characters.")
    account.store.db.execute("DELETE FROM answer WHERE created < ?", (account.now - ANSWER_KEPT_S,))
    row = account.store.db.execute("SELECT * FROM answer WHERE key = ?", (key,)).fetchone()
    if row is None:
        return None
    if row["fingerprint"] != _fingerprint(request, text):
        raise IdempotencyError(
            f"The idempotency key '{key}' was first used for another request. Use a new key, or "
            "repeat the first request with all its parameters."
        )
    return row["status"], json.loads(row["body"])


def _remember(
    account: Account, request: Request, text: str, key: str | None, answer: tuple[int, JSON]
) -> None:
    if key is not None:
        account.store.db.execute(
            "INSERT INTO answer (key, fingerprint, status, body, created) VALUES (?, ?, ?, ?, ?)",
            (key, _fingerprint(request, text), answer[0], json.dumps(answer[1]), account.now),
        )
