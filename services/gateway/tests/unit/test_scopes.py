"""What an API key opens, and what none does."""

import pytest

from libs.common.errors import LoginRequiredError
from services.gateway.errors import ScopeMissingError
from services.gateway.routes import ensure_in_scope

READ, CHAT = frozenset({"read"}), frozenset({"chat"})
READING = [
    ("GET", "/chatroom"),
    ("HEAD", "/chatroom"),
    ("GET", "/chatroom/1/message/2/stream"),
    ("GET", "/search"),
    ("GET", "/usage"),
    ("GET", "/model"),
    ("GET", "/openai/v1/models"),
    ("GET", "/event"),
]
WRITING = [
    ("POST", "/chatroom"),
    ("POST", "/chatroom/1/message"),
    ("PATCH", "/chatroom/1"),
    ("DELETE", "/chatroom/1"),
    ("POST", "/openai/v1/chat/completions"),
    ("POST", "/ws/ticket"),
]
OF_THE_ACCOUNT = [("GET", "/user/me"), ("GET", "/subscription/status")]
FOR_LOGINS = [
    ("PATCH", "/user/me"),
    ("DELETE", "/user/me"),
    ("GET", "/user/me/api-key"),
    ("POST", "/user/me/api-key"),
    ("DELETE", "/user/me/api-key/1"),
    ("POST", "/user/me/api-key/1/rotate"),
    ("GET", "/user/me/export"),
    ("GET", "/auth/session"),
    ("DELETE", "/auth/session/1"),
    ("POST", "/auth/logout"),
    ("POST", "/subscribe/pro"),
    ("POST", "/subscription/cancel"),
    ("GET", "/invoice"),
    ("GET", "/something/new"),
]


@pytest.mark.parametrize(("method", "path"), READING)
def test_any_key_reads_chats(method: str, path: str) -> None:
    for scopes in (READ, CHAT, READ | CHAT, None):
        ensure_in_scope(scopes, method, path)


@pytest.mark.parametrize(("method", "path"), WRITING)
def test_a_key_that_reads_changes_nothing(method: str, path: str) -> None:
    for scopes in (CHAT, READ | CHAT, None):
        ensure_in_scope(scopes, method, path)
    for scopes in (READ, frozenset(), frozenset({"CHAT", "chats", "admin"})):
        with pytest.raises(ScopeMissingError, match="'chat'"):
            ensure_in_scope(scopes, method, path)


@pytest.mark.parametrize(("method", "path"), OF_THE_ACCOUNT)
def test_a_key_that_reads_knows_whose_it_is(method: str, path: str) -> None:
    for scopes in (READ, READ | CHAT, None):
        ensure_in_scope(scopes, method, path)
    with pytest.raises(ScopeMissingError, match="'read'"):
        ensure_in_scope(CHAT, method, path)


@pytest.mark.parametrize(("method", "path"), FOR_LOGINS)
def test_no_key_manages_an_account(method: str, path: str) -> None:
    ensure_in_scope(None, method, path)
    for scopes in (READ, CHAT, READ | CHAT, frozenset({"user", "billing", "admin"})):
        with pytest.raises(LoginRequiredError):
            ensure_in_scope(scopes, method, path)
