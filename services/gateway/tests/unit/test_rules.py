import tracemalloc

import pytest

from services.gateway.rules import (
    ClientAddresses,
    anonymous_subject,
    forwarded_headers,
    returned_headers,
)
from services.gateway.settings import parse_networks

PROXIES = "10.0.0.0/8, fd00::/8"


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded_for", "expected"),
    [
        ("", "203.0.113.5", "1.2.3.4", "203.0.113.5"),
        (PROXIES, "203.0.113.5", "1.2.3.4", "203.0.113.5"),
        (PROXIES, "10.0.0.1", "1.2.3.4", "1.2.3.4"),
        (PROXIES, "10.0.0.1", "6.6.6.6, 1.2.3.4", "1.2.3.4"),
        (PROXIES, "10.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.2", "1.2.3.4"),
        (PROXIES, "10.0.0.1", "1.2.3.4, nonsense", "10.0.0.1"),
        (PROXIES, "10.0.0.1", "", "10.0.0.1"),
        (PROXIES, "10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        (PROXIES, "fd00::1", "2001:db8::7", "2001:db8::7"),
        (PROXIES, "::ffff:10.0.0.1", "1.2.3.4", "1.2.3.4"),
        (PROXIES, "", "1.2.3.4", "0.0.0.0"),
        (PROXIES, "10.0.0.1", "6.6.6.6," * 1000 + "1.2.3.4", "1.2.3.4"),
        (PROXIES, "10.0.0.1", "1.1.1.1," + "fd00::2," * 80 + "fd00::333", "fd00::2"),
    ],
)
def test_the_client_is_the_right_most_hop_that_nobody_vouches_for(
    trusted: str, peer: str, forwarded_for: str, expected: str
) -> None:
    assert ClientAddresses(parse_networks(trusted)).client_ip(peer, forwarded_for) == expected


def test_what_a_client_makes_up_is_not_kept_in_memory() -> None:
    clients = [ClientAddresses(parse_networks(trusted)) for trusted in ("", PROXIES)]
    tracemalloc.start()
    for number in range(500):
        for client in clients:
            client.client_ip("10.0.0.1", f"{number}," * 10_000)

    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 2_000_000


def test_addresses_of_one_ipv6_customer_count_together() -> None:
    assert anonymous_subject("2001:db8::1") == anonymous_subject("2001:db8::ffff:1")
    assert anonymous_subject("2001:db8::1") != anonymous_subject("2001:db8:0:1::1")
    assert anonymous_subject("203.0.113.5") == "203.0.113.5"


@pytest.mark.parametrize(
    "name",
    [
        b"x-user-id",
        b"x-real-ip",
        b"forwarded",
        b"x-forwarded-proto",
        b"connection",
        b"keep-alive",
        b"te",
        b"upgrade",
        b"transfer-encoding",
        b"content-length",
        b"host",
        b"x-private",
    ],
)
def test_what_a_client_must_not_say_is_not_forwarded(name: bytes) -> None:
    given = [(name, b"evil"), (b"connection", b"x-private, close"), (b"accept", b"*/*")]

    lines = forwarded_headers(given, client_ip="1.2.3.4", request_id="r")

    assert lines == b"accept: */*\r\nx-forwarded-for: 1.2.3.4\r\nx-request-id: r\r\n"


def test_every_connection_header_counts() -> None:
    given = [
        (b"connection", b"x-one"),
        (b"x-one", b"1"),
        (b"connection", b"x-two"),
        (b"x-two", b"2"),
    ]
    given += [(b"connection", b"close"), (b"http2-settings", b"x")]

    lines = forwarded_headers(given, client_ip="1.2.3.4", request_id="r")

    assert lines == b"x-forwarded-for: 1.2.3.4\r\nx-request-id: r\r\n"


def test_a_forged_client_address_is_replaced() -> None:
    given = [(b"x-forwarded-for", b"6.6.6.6")]

    lines = forwarded_headers(given, client_ip="1.2.3.4", request_id="r")

    assert b"6.6.6.6" not in lines
    assert b"x-forwarded-for: 1.2.3.4\r\n" in lines


def test_answers_lose_connection_headers_and_the_servers_name_and_are_not_cached() -> None:
    given = [
        (b"server", b"uvicorn"),
        (b"connection", b"keep-alive"),
        (b"etag", b"x"),
        (b"content-length", b"5"),
    ]

    kept = dict(returned_headers(given, status=200))

    assert kept == {
        b"etag": b"x",
        b"content-length": b"5",
        b"cache-control": b"no-store",
        b"x-content-type-options": b"nosniff",
    }


def test_a_services_own_cache_control_stays_and_a_304_has_no_length() -> None:
    given = [(b"cache-control", b"max-age=60"), (b"content-length", b"5")]

    kept = returned_headers(given, status=304)

    assert kept == [(b"cache-control", b"max-age=60"), (b"x-content-type-options", b"nosniff")]
