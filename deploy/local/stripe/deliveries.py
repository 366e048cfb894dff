"""The queue of webhook deliveries, and the ways in which a test may disturb it."""

import json
import random
import sqlite3
import time
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from deploy.local.stripe.errors import JSON
from deploy.local.stripe.state import Store

Mode = Literal["normal", "hold", "drop", "duplicate", "reverse", "shuffle"]
MODES: tuple[Mode, ...] = get_args(Mode)

# Seconds before each retry. Real Stripe tries for three days; here the last one is after an hour.
RETRIES_S = (0.2, 1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800)
# `reverse` and `shuffle` gather events until none came for so long.
QUIET_S = 0.5
LOG_LENGTH = 1000


@dataclass(frozen=True)
class Disturbance:
    """How events reach the endpoints; stored, so that a restart does not change it.

    Attributes:
        mode: `hold` keeps them for `release`; `drop` loses them (`resend` still works);
            `duplicate` sends each several times; `reverse` and `shuffle` gather what comes
            within half a second and send it in that order.
        duplicates: extra copies in `duplicate`.
        delay_s: how much later than the change the first attempt is made.
        seed: of `shuffle`, for a repeatable order.
    """

    mode: Mode = "normal"
    duplicates: int = 1
    delay_s: float = 0.0
    seed: int = 0


def disturbance(store: Store) -> Disturbance:
    """Return what is set; nothing is disturbed until someone asks for it."""
    return Disturbance(**json.loads(store.setting("webhooks", "{}")))


def disturb(store: Store, wish: Disturbance) -> None:
    """Set how events that happen from now on are delivered; held ones stay held."""
    store.set_setting("webhooks", json.dumps(asdict(wish)))


def enqueue(store: Store, event: JSON) -> int:
    """Queue the event for every enabled endpoint that wants it; return for how many."""
    wish = disturbance(store)
    state = {"hold": "held", "drop": "dropped", "reverse": "gathered", "shuffle": "gathered"}.get(
        wish.mode, "pending"
    )
    copies = 1 + wish.duplicates if wish.mode == "duplicate" else 1
    wanting = [
        endpoint["id"]
        for endpoint in store.scan("webhook_endpoint")
        if {"*", event["type"]} & set(endpoint["enabled_events"])
    ]
    for endpoint_id in wanting:
        for _ in range(copies):
            _insert(store, event, endpoint_id, state=state, next_at=time.time() + wish.delay_s)
    return len(wanting)


def resend(store: Store, event: JSON) -> int:
    """Queue the event once more for every endpoint, whatever is set; return for how many."""
    endpoints = [endpoint["id"] for endpoint in store.scan("webhook_endpoint")]
    for endpoint_id in endpoints:
        _insert(store, event, endpoint_id, state="pending", next_at=time.time())
    return len(endpoints)


def release(store: Store, *, state: str = "held", order: str | None = None) -> int:
    """Let the held deliveries go, in the set order or in `order`; return how many."""
    wish = disturbance(store)
    rows = store.db.execute(
        "SELECT seq FROM delivery WHERE state = ? ORDER BY seq", (state,)
    ).fetchall()
    seqs = [row["seq"] for row in rows]
    match order or wish.mode:
        case "reverse":
            seqs.reverse()
        case "shuffle":
            random.Random(wish.seed).shuffle(seqs)  # noqa: S311 - repeatable, not secret
    now = time.time() + wish.delay_s
    store.db.executemany(
        "UPDATE delivery SET state = 'pending', place = ?, next_at = ? WHERE seq = ?",
        [(place, now, seq) for place, seq in enumerate(seqs)],
    )
    return len(seqs)


def release_gathered(store: Store) -> None:
    """Let what `reverse` or `shuffle` gathered go, once it has been quiet for `QUIET_S`."""
    newest = store.db.execute(
        "SELECT max(next_at) AS at FROM delivery WHERE state = 'gathered'"
    ).fetchone()["at"]
    if newest is not None and newest + QUIET_S <= time.time():
        release(store, state="gathered")


def due(store: Store) -> list[sqlite3.Row]:
    """Return the deliveries whose time has come, in the order to send them, at most 100."""
    return store.db.execute(
        """
        SELECT * FROM delivery WHERE state = 'pending' AND next_at <= ?
        ORDER BY next_at, place, seq LIMIT 100
        """,
        (time.time(),),
    ).fetchall()


def seconds_to_next(store: Store) -> float | None:
    """Return how long until something may have to be sent, or None if nothing waits."""
    row = store.db.execute(
        """
        SELECT min(CASE state WHEN 'gathered' THEN next_at + ? ELSE next_at END) AS at
        FROM delivery WHERE state IN ('pending', 'gathered')
        """,
        (QUIET_S,),
    ).fetchone()
    return None if row["at"] is None else max(0.0, float(row["at"]) - time.time())


def record(
    store: Store, row: sqlite3.Row, *, status: int | None, error: str | None, began: float
) -> None:
    """Log an attempt, and finish its delivery or set the time of the next attempt.

    Args:
        store: the state.
        row: the delivery, as `due` returned it.
        status: the HTTP status of the answer, None if there was none.
        error: why there was none.
        began: Unix time of the attempt.
    """
    attempts = row["attempts"] + 1
    if status is not None and 200 <= status < 300:
        state, next_at = "delivered", row["next_at"]
    elif attempts > len(RETRIES_S):
        state, next_at = "failed", row["next_at"]
    else:
        state, next_at = "pending", time.time() + RETRIES_S[attempts - 1]
    store.db.execute(
        "UPDATE delivery SET state = ?, attempts = ?, next_at = ? WHERE seq = ?",
        (state, attempts, next_at, row["seq"]),
    )
    took_ms = round((time.time() - began) * 1000, 1)
    cursor = store.db.execute(
        """
        INSERT INTO attempt (event_id, event_type, endpoint_id, at, duration_ms, status, error)
        VALUES (?, ?, ?, ?, ?, ?, ?)
        """,
        (row["event_id"], row["event_type"], row["endpoint_id"], began, took_ms, status, error),
    )
    store.db.execute("DELETE FROM attempt WHERE seq <= ?", ((cursor.lastrowid or 0) - LOG_LENGTH,))


def forget(store: Store, endpoint_id: str) -> None:
    """Give up what still waits for a deleted endpoint."""
    store.db.execute(
        """
        UPDATE delivery SET state = 'dropped'
        WHERE endpoint_id = ? AND state IN ('pending', 'held', 'gathered')
        """,
        (endpoint_id,),
    )


def pending_count(store: Store, event_id: str) -> int:
    """Return how many endpoints have yet to accept the event."""
    row = store.db.execute(
        """
        SELECT count(DISTINCT endpoint_id) AS n FROM delivery
        WHERE event_id = ? AND state IN ('pending', 'held', 'gathered')
        """,
        (event_id,),
    ).fetchone()
    return int(row["n"])


def summary(store: Store, event_id: str) -> str:
    """Return the states of the event's deliveries in words, such as `delivered, held`."""
    rows = store.db.execute(
        "SELECT DISTINCT state FROM delivery WHERE event_id = ? ORDER BY state", (event_id,)
    )
    return ", ".join(row["state"] for row in rows) or "no endpoint"


def overview(store: Store) -> JSON:
    """Return the setting, the number of deliveries by state, and the attempts, newest first."""
    counts = store.db.execute("SELECT state, count(*) AS n FROM delivery GROUP BY state")
    attempts = store.db.execute("SELECT * FROM attempt ORDER BY seq DESC")
    return {
        **asdict(disturbance(store)),
        "deliveries": {row["state"]: row["n"] for row in counts},
        "attempts": [dict(row) for row in attempts],
    }


def _insert(store: Store, event: JSON, endpoint_id: str, *, state: str, next_at: float) -> None:
    store.db.execute(
        """
        INSERT INTO delivery (event_id, event_type, endpoint_id, state, place, attempts, next_at)
        VALUES (?, ?, ?, ?, 0, 0, ?)
        """,
        (event["id"], event["type"], endpoint_id, state, next_at),
    )
