import asyncio

import pytest

from services.ai.beats import BEAT_S, Beats


async def test_who_waits_for_the_same_beat_goes_on_in_the_same_turn() -> None:
    beats = Beats()
    loop = asyncio.get_running_loop()
    turns: list[int] = []
    turn = 0

    def count() -> None:
        nonlocal turn
        turn += 1
        loop.call_soon(count)

    async def wait() -> None:
        await beats.wait(between_two_beats - loop.time())
        turns.append(turn)

    between_two_beats = (loop.time() // BEAT_S + 5.5) * BEAT_S
    waiting = [asyncio.create_task(wait()) for _ in range(20)]
    await asyncio.sleep(BEAT_S)
    count()
    await asyncio.gather(*waiting)

    assert len(turns) == 20
    assert len(set(turns)) == 1


async def test_nobody_waits_less_than_wanted() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()

    await Beats().wait(2 * BEAT_S)

    assert loop.time() - began >= 1.9 * BEAT_S


async def test_who_gives_up_disturbs_nobody() -> None:
    beats = Beats()
    other = asyncio.create_task(beats.wait(BEAT_S))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(BEAT_S / 10):
            await beats.wait(BEAT_S)

    await other
