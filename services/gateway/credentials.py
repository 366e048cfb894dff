"""What callers send to say who they are: access tokens of ours or another issuer's, or API keys.

For a key or a foreign token auth gives an access token of ours, which is remembered for as long as
it is good and sent on to the services: they know no other. A key that was deleted is a session that
ended.
"""

import asyncio
import time
from dataclasses import dataclass

import jwt
import orjson

from libs.common.api_keys import PREFIX, is_well_formed
from libs.common.clock import new_id
from libs.common.errors import ApiKeyInvalidError, UnavailableError
from libs.common.identity import Identity, TokenVerifier
from services.gateway.asking import ask
from services.gateway.errors import CredentialRefusedError
from services.gateway.lifetime import Sessions
from services.gateway.limits import Limiter
from services.gateway.upstream import Upstream, UpstreamRequest

MAX_EXCHANGED = 4096
"""Keys and foreign tokens that one process remembers the tokens of."""

MAX_CREDENTIAL = 8192
"""Characters of a foreign token at most."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who it is, and the access token that services know them by.

    Attributes:
        is_exchanged: whether the caller sent something else than that token.
    """

    identity: Identity
    token: str
    is_exchanged: bool = False


class Credentials:
    """Tells who sends what."""

    def __init__(
        self,
        auth: Upstream,
        verifier: TokenVerifier,
        limiter: Limiter,
        sessions: Sessions,
        *,
        external_issuer: str,
    ) -> None:
        self._auth = auth
        self._verifier = verifier
        self._limiter = limiter
        self._sessions = sessions
        self._external_issuer = external_issuer
        self._exchanged: dict[str, Caller] = {}
        self._asking: dict[str, asyncio.Task[Caller]] = {}

    async def identify(self, credential: str, client_ip: str) -> Caller:
        """Return whose the token or key is.

        Auth is asked about a key, or a foreign token, once while the token that it gives lasts,
        however many requests come with it. The question counts for the address, so that nobody
        floods auth with what is made up.

        Raises:
            UnauthenticatedError: nobody's; see `TokenVerifier.verify` for tokens.
            RateLimitedError: too many questions came from the address.
            UnavailableError: auth does not answer.
        """
        if (known := self._known(credential)) is not None:
            return known
        if credential.startswith(PREFIX):
            if not is_well_formed(credential):
                raise ApiKeyInvalidError
        elif not self._is_foreign(credential):
            return Caller(await self._verifier.verify(credential), credential)
        asking = self._asking.get(credential)
        if asking is None:
            asking = self._ask_once(credential, client_ip)
        return await asyncio.shield(asking)  # whoever leaves does not take the answer from others

    def _is_foreign(self, token: str) -> bool:
        """Tell whether a token claims to be of the other issuer; auth finds out whether it is.

        To look into a token costs about 50 us, so that those we know are not looked into.
        """
        if not self._external_issuer or len(token) > MAX_CREDENTIAL:
            return False
        if self._verifier.remembers(token):
            return False
        try:
            claims = jwt.decode(token, options={"verify_signature": False})
        except jwt.InvalidTokenError:
            return False
        return claims.get("iss") == self._external_issuer

    def _known(self, credential: str) -> Caller | None:
        caller = self._exchanged.get(credential)
        if caller is None:
            return None
        has_expired = caller.identity.expires_at <= time.time()
        if has_expired or self._sessions.has_ended(caller.identity.session_id):
            del self._exchanged[credential]
            return None
        return caller

    def _ask_once(self, credential: str, client_ip: str) -> asyncio.Task[Caller]:
        def forget(task: asyncio.Task[Caller]) -> None:
            del self._asking[credential]
            if not task.cancelled():
                task.exception()  # it is raised to who waits, if anybody still does

        task = asyncio.create_task(self._exchange(credential, client_ip))
        self._asking[credential] = task
        task.add_done_callback(forget)
        return task

    async def _exchange(self, credential: str, client_ip: str) -> Caller:
        await self._limiter.admit(None, client_ip, asyncio.get_running_loop().time())
        headers = f"content-type: application/json\r\nx-request-id: {new_id()}\r\n".encode()
        question = orjson.dumps({"credential": credential})
        answer = await ask(self._auth, UpstreamRequest("POST", b"/exchange", headers, question))
        if answer.status == 401:
            raise CredentialRefusedError(answer.document())
        if answer.status != 200:
            raise UnavailableError(
                "this cannot be checked right now; try again", headers={"Retry-After": "1"}
            )
        token = str(answer.document()["access_token"])
        caller = Caller(await self._verifier.verify(token), token, is_exchanged=True)
        if len(self._exchanged) >= MAX_EXCHANGED:
            del self._exchanged[next(iter(self._exchanged))]
        self._exchanged[credential] = caller
        return caller
