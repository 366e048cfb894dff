import asyncio
from collections.abc import Callable

import pytest

from services.gateway.hub import MAX_QUEUED, Listener


def test_a_listener_that_is_behind_keeps_nothing_until_it_has_caught_up() -> None:
    listener = Listener()

    for number in range(MAX_QUEUED * 2):
        listener.push(b"%d" % number)
    kept = listener.take()
    was_behind = [listener.catch_up(), listener.catch_up()]
    listener.push(b"next")

    assert kept == []
    assert was_behind == [True, False]
    assert listener.take() == [b"next"]


def push(listener: Listener) -> None:
    listener.push(b"1-0 {}")


SIGNS = pytest.mark.parametrize(
    "sign", [push, Listener.nudge, Listener.leave, Listener.fall_behind], ids=lambda it: it.__name__
)


@SIGNS
async def test_whoever_waits_is_woken(sign: Callable[[Listener], None]) -> None:
    listener = Listener()
    waiting = asyncio.create_task(listener.wait(60))
    await asyncio.sleep(0)

    sign(listener)

    async with asyncio.timeout(5):
        await waiting


@SIGNS
async def test_whoever_comes_after_the_sign_does_not_wait(
    sign: Callable[[Listener], None],
) -> None:
    listener = Listener()
    sign(listener)

    async with asyncio.timeout(5):
        await listener.wait(60)
        await listener.wait(60)


async def test_whoever_has_taken_everything_waits_until_the_timeout() -> None:
    listener = Listener()
    push(listener)
    listener.take()
    waiting = asyncio.create_task(listener.wait(0.05))
    await asyncio.sleep(0)

    assert not waiting.done()
    async with asyncio.timeout(5):
        await waiting
    assert listener.take() == []
