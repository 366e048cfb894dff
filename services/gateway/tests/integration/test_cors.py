from services.gateway.tests.integration.conftest import FakeServices, Start

PAGE = "https://app.example"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x"}
OTHERS = (
    *("https://evil.example", f"{PAGE}.evil.example", "https://evilapp.example", "null"),
    *("http://app.example", f"{PAGE}:8443", f"{PAGE}/"),
)
NEEDED = {"retry-after", "ratelimit", "ratelimit-policy", "x-request-id", "location", "etag"}


async def test_a_page_of_an_allowed_origin_may_call_and_read_what_it_needs(
    start_gateway: Start, fakes: FakeServices
) -> None:
    async with start_gateway(allowed_origins=f"https://other.example,{PAGE}") as client:
        preflight = await client.options("/chatroom", headers={"Origin": PAGE, **PREFLIGHT})
        refused = await client.get("/chatroom", headers={"Origin": PAGE})
        answered = await client.get("/auth/x", headers={"Origin": PAGE})
        own = await client.get("/", headers={"Origin": PAGE})

    assert (preflight.status_code, preflight.content) == (204, b"")
    assert "POST" in preflight.headers["access-control-allow-methods"]
    allowed = preflight.headers["access-control-allow-headers"].lower().split(", ")
    assert {"authorization", "content-type", "idempotency-key", "last-event-id"} <= set(allowed)
    assert "access-control-allow-credentials" not in preflight.headers
    assert [answer.status_code for answer in (refused, answered, own)] == [401, 200, 200]
    for answer in (preflight, refused, answered, own):
        assert answer.headers.get_list("access-control-allow-origin") == [PAGE]
        assert "Origin" in answer.headers["vary"]
        exposed = answer.headers["access-control-expose-headers"].lower().split(", ")
        assert NEEDED | {"idempotent-replayed"} <= set(exposed)
    assert "/chatroom" not in [scope["path"] for scope in fakes.seen]


async def test_a_page_of_another_origin_gets_no_permission(start_gateway: Start) -> None:
    """G7: seven that look like the allowed one, or like none."""
    async with start_gateway(allowed_origins=PAGE) as client:
        for origin in OTHERS:
            preflight = await client.options("/chatroom", headers={"Origin": origin, **PREFLIGHT})
            answer = await client.get("/auth/x", headers={"Origin": origin})

            assert preflight.status_code == 401
            assert "access-control-allow-origin" not in preflight.headers | answer.headers
            assert answer.headers["vary"] == "Origin"


async def test_by_default_no_origin_is_allowed(start_gateway: Start) -> None:
    async with start_gateway() as client:
        preflight = await client.options("/chatroom", headers={"Origin": PAGE, **PREFLIGHT})
        answer = await client.get("/auth/x", headers={"Origin": PAGE})

    assert preflight.status_code == 401
    assert not {name for name in answer.headers if name.startswith(("access-control", "vary"))}
