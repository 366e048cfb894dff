"""The emulator's memory: objects, idempotent answers and deliveries in one SQLite database."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deploy.local.stripe.errors import JSON

_SCHEMA = """
CREATE TABLE IF NOT EXISTS object (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL, id TEXT NOT NULL, due INTEGER, body TEXT NOT NULL,
    UNIQUE (kind, id)
);
CREATE INDEX IF NOT EXISTS object_newest ON object (kind, seq);
CREATE INDEX IF NOT EXISTS object_due ON object (due) WHERE due IS NOT NULL;
CREATE INDEX IF NOT EXISTS object_customer
    ON object (kind, json_extract(body, '$.customer'), seq);
CREATE INDEX IF NOT EXISTS object_email ON object (kind, json_extract(body, '$.email'), seq);
CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS answer (
    key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, status INTEGER NOT NULL,
    body TEXT NOT NULL, created INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS delivery (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL, event_type TEXT NOT NULL, endpoint_id TEXT NOT NULL,
    state TEXT NOT NULL, place INTEGER NOT NULL, attempts INTEGER NOT NULL, next_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS delivery_due ON delivery (state, next_at, place);
CREATE INDEX IF NOT EXISTS delivery_event ON delivery (event_id);
CREATE TABLE IF NOT EXISTS attempt (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL, event_type TEXT NOT NULL, endpoint_id TEXT NOT NULL,
    at REAL NOT NULL, duration_ms REAL NOT NULL, status INTEGER, error TEXT
);
"""
_OLDER = "seq < (SELECT seq FROM object WHERE kind = ? AND id = ?)"
_NEWER = "seq > (SELECT seq FROM object WHERE kind = ? AND id = ?)"


class Store:
    """Everything that outlives a request.

    Every method is one statement; callers that need several to hold together open a
    `transaction`. Used from one thread.

    Args:
        path: the database file, made if it does not exist; None keeps everything in memory.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.db = sqlite3.connect(path or ":memory:", isolation_level=None)
        self.db.row_factory = sqlite3.Row
        # WAL without a sync per commit survives kill -9; only a power cut may lose the last ones.
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = NORMAL")
        self.db.execute("PRAGMA busy_timeout = 2000")
        self.db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the database; the store is of no use after it."""
        self.db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Keep all writes of the block, or none if it raises. Must not hold an `await`."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def put(self, kind: str, body: JSON, *, due: int | None = None) -> None:
        """Insert or replace `body` under its `id`; a replaced one keeps its place in lists.

        Args:
            kind: the object's kind.
            body: must have an `id`.
            due: the emulated moment at which the clock must look at it, if any.
        """
        self.db.execute(
            """
            INSERT INTO object (kind, id, due, body) VALUES (?, ?, ?, ?)
            ON CONFLICT (kind, id) DO UPDATE SET due = excluded.due, body = excluded.body
            """,
            (kind, body["id"], due, json.dumps(body)),
        )

    def get(self, kind: str, object_id: str) -> JSON | None:
        """Return a fresh copy of the object, or None."""
        row = self.db.execute(
            "SELECT body FROM object WHERE kind = ? AND id = ?", (kind, object_id)
        ).fetchone()
        return None if row is None else _loads(row["body"])

    def delete(self, kind: str, object_id: str) -> None:
        """Forget the object, if it is there."""
        self.db.execute("DELETE FROM object WHERE kind = ? AND id = ?", (kind, object_id))

    def scan(
        self,
        kind: str,
        equal: Mapping[str, str] | None = None,
        *,
        older_than: str | None = None,
        newer_than: str | None = None,
    ) -> Iterator[JSON]:
        """Yield objects, newest first; oldest first when `newer_than` is given.

        Args:
            kind: the objects' kind.
            equal: dotted paths into the body and the values they must have.
            older_than: an id; only objects made before it.
            newer_than: an id; only objects made after it.
        """
        where, values = ["kind = ?"], [kind]
        for path, value in (equal or {}).items():
            # A path is the emulator's own text, and a literal lets SQLite use the index on it.
            where.append(f"json_extract(body, '$.{path}') = ?")
            values.append(value)
        for condition, edge in ((_OLDER, older_than), (_NEWER, newer_than)):
            if edge is not None:
                where.append(condition)
                values += [kind, edge]
        order = "ASC" if newer_than is not None else "DESC"
        sql = f"SELECT body FROM object WHERE {' AND '.join(where)} ORDER BY seq {order}"  # noqa: S608 - no foreign text in it
        for row in self.db.execute(sql, values):
            yield _loads(row["body"])

    def next_due(self, until: int) -> tuple[str, str, int] | None:
        """Return kind, id and moment of what is due first at or before `until`, if anything."""
        row = self.db.execute(
            "SELECT kind, id, due FROM object WHERE due <= ? ORDER BY due, seq LIMIT 1", (until,)
        ).fetchone()
        return None if row is None else (row["kind"], row["id"], row["due"])

    def setting(self, name: str, default: str) -> str:
        """Return a stored setting, or `default`."""
        row = self.db.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
        return default if row is None else str(row["value"])

    def set_setting(self, name: str, value: str) -> None:
        """Store a setting."""
        self.db.execute("INSERT OR REPLACE INTO setting (name, value) VALUES (?, ?)", (name, value))


def _loads(text: str) -> JSON:
    body: JSON = json.loads(text)
    return body
