"""How long a run takes: the numbers that `--rounds` and `--quick` change."""

from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes of the loads; each is one side of one round.

    Attributes:
        rounds: rounds that count; a warm-up comes before them.
        seconds: of a closed loop.
        requests: of a closed loop at most.
        open_seconds: of a load at a fixed rate.
        posts: messages posted.
        replies: messages answered, one after the other for each user.
        at_once: messages answered that are posted at the same time.
        chats: replies whose first word is timed.
        stream_tokens: length of the replies that are streamed side by side.
        connections: idle ones, at the same time.
        big_room: messages of the big room.
        load_seconds: of steady reads, and of steady messages.
        burst: posts at once.
        everything: rounds of everything.
        asked: times that each kind of page or post is asked for.
    """

    rounds: int = 5
    seconds: float = 2.0
    requests: int = 60_000
    open_seconds: float = 2.5
    posts: int = 1000
    replies: int = 300
    at_once: int = 200
    chats: int = 100
    stream_tokens: int = 400
    connections: int = 1000
    big_room: int = 500_000
    asked: int = 100
    load_seconds: float = 30.0
    burst: int = 500
    everything: int = 40

    @classmethod
    def quick(cls) -> Self:
        """Return a plan that shows that everything works, and nothing else."""
        return cls(
            rounds=1,
            seconds=0.3,
            requests=2000,
            open_seconds=0.5,
            posts=160,
            replies=40,
            at_once=20,
            chats=20,
            stream_tokens=80,
            connections=50,
            big_room=5000,
            asked=10,
            load_seconds=2.0,
            burst=30,
            everything=1,
        )

    def with_rounds(self, rounds: int | None) -> "Plan":
        """Return the plan with another number of rounds, if there is one."""
        return replace(self, rounds=rounds) if rounds else self
