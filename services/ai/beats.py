"""Waiting together: a process that wakes up once for twenty replies does a fraction of the work."""

import asyncio
import math

BEAT_S = 0.05
"""Seconds between two beats."""


class Beats:
    """Instants of the event loop's clock at which all who wait for one go on in the same turn.

    Timers of their own would go off within a millisecond, but in turns of their own, and so would
    each send what it has by itself.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, list[asyncio.Future[None]]] = {}

    async def wait(self, seconds: float) -> None:
        """Wait that long, and on to the next beat if it is longer than from one to the next."""
        loop = asyncio.get_running_loop()
        if seconds < BEAT_S:
            await asyncio.sleep(seconds)
            return
        beat = math.ceil((loop.time() + seconds) / BEAT_S)
        waiting = self._waiting.get(beat)
        if waiting is None:
            waiting = self._waiting[beat] = []
            loop.call_at(beat * BEAT_S, self._strike, beat)
        woken = loop.create_future()
        waiting.append(woken)
        await woken

    def _strike(self, beat: int) -> None:
        for woken in self._waiting.pop(beat):
            if not woken.done():  # who waited may have been cancelled
                woken.set_result(None)
