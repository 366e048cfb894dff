import pytest

from services.gateway.routes import Access, is_plain, route_of

ROUTES = [
    ("POST", "/auth/signup", "auth", Access.ANYONE),
    ("POST", "/auth/logout", "auth", Access.TOKEN),
    ("GET", "/auth/session", "auth", Access.TOKEN),
    ("DELETE", "/auth/session/1", "auth", Access.TOKEN),
    ("GET", "/auth/sessions", "auth", Access.ANYONE),
    ("POST", "/auth/verify-factor", "auth", Access.ANYONE),
    ("DELETE", "/user/me/factor", "auth", Access.TOKEN),
    ("POST", "/admin/user/1/ban", "auth", Access.TOKEN),
    ("GET", "/admin/audit", "auth", Access.TOKEN),
    ("GET", "/admin/user", "auth", Access.TOKEN),
    ("GET", "/admin/user/1/billing", "billing", Access.TOKEN),
    ("POST", "/admin/user/1/billing/sync", "billing", Access.TOKEN),
    ("GET", "/admin/user/1/billings", "auth", Access.TOKEN),
    ("GET", "/admin/stripe-event", "billing", Access.TOKEN),
    ("POST", "/admin/stripe-event/evt_1/retry", "billing", Access.TOKEN),
    ("GET", "/admin/stripe-events", "auth", Access.TOKEN),
    ("GET", "/user/me", "auth", Access.TOKEN),
    ("GET", "/.well-known/jwks.json", "auth", Access.ANYONE),
    ("GET", "/chatroom", "chat", Access.TOKEN),
    ("POST", "/chatroom/1/message", "chat", Access.TOKEN),
    ("GET", "/chatroom/1/message/2/stream", None, Access.TOKEN),
    ("POST", "/chatroom/1/message/2/stream", "chat", Access.TOKEN),
    ("GET", "/search", "chat", Access.TOKEN),
    ("GET", "/usage", "ai", Access.TOKEN),
    ("GET", "/agent/1", "ai", Access.TOKEN),
    ("GET", "/model", "ai", Access.TOKEN),
    ("POST", "/subscribe/pro", "billing", Access.TOKEN),
    ("GET", "/subscription/status", "billing", Access.TOKEN),
    ("GET", "/subscription/complete", "billing", Access.ANYONE),
    ("POST", "/webhook/stripe", "billing", Access.UNLIMITED),
    ("POST", "/webhook/other", None, Access.ANYONE),
    ("GET", "/invoice", "billing", Access.TOKEN),
    ("GET", "/chatroomx", None, Access.ANYONE),
    ("GET", "/health/live", None, Access.UNLIMITED),
    ("GET", "/health/ready", None, Access.ANYONE),
    ("GET", "/openapi.json", None, Access.ANYONE),
    ("GET", "/", None, Access.ANYONE),
]


@pytest.mark.parametrize(("method", "path", "service", "access"), ROUTES)
def test_each_path_leads_to_its_service_and_asks_for_what_it_should(
    method: str, path: str, service: str | None, access: Access
) -> None:
    route = route_of(method, path)

    assert (route.service, route.access) == (service, access)


@pytest.mark.parametrize(
    "path",
    [
        b"/auth/../health/live",
        b"/auth/..",
        b"/auth/./login",
        b"//auth/login",
        b"/auth//login",
        b"/auth/%2e%2e/health",
        b"/auth%2flogin",
        b"/auth/\x00",
        b"/auth/\xff",
        b"/auth/",
        b"auth",
        b"*",
        b"",
        b"/auth\\login",
        b"/auth/login;x=1",
        b"/auth/login\n",
    ],
)
def test_a_path_that_two_servers_could_read_differently_is_refused(path: bytes) -> None:
    assert not is_plain(path, b"")


def test_plain_paths_pass_and_queries_may_be_encoded() -> None:
    assert is_plain(b"/chatroom/0192-a/message", b"limit=2&q=%C3%A4+b")
    assert is_plain(b"/.well-known/jwks.json", b"")
    assert is_plain(b"/", b"")
    assert not is_plain(b"/search", b"q=\xff")
