"""Finds in migrations what keeps users waiting on a big table, or breaks the previous release.

The rules are those of strong_migrations and squawk, for what we use of PostgreSQL.
"""

import re
from collections.abc import Iterable
from pathlib import Path

PREVIOUS_RELEASE = "cabb57274441d8bd7fa6e45a5a284d0ca2873788"
"""A commit, whose code tests/e2e/test_upgrade.py runs on the schema of this one. None is out yet:
until 0.1.0 is, it is one that CI found green."""

RELEASED = {"common": 3, "ai": 4, "auth": 7, "billing": 6, "chat": 4}
"""The last file of each folder there; 0 where there is none. A table that was made after it is new
in this release: it is empty where the files run, so they may do what they like."""

_TABLE = r'(?:ONLY\s+)?(?:IF\s+EXISTS\s+)?"?(\w+)"?'
_CREATES = re.compile(r"^CREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?(\w+)", re.IGNORECASE)
_INDEX = re.compile(
    r"^CREATE\s+(?:UNIQUE\s+)?INDEX\b.*?\bON\s+" + _TABLE, re.IGNORECASE | re.DOTALL
)
_CHANGES = [
    re.compile(rf"^{verb}\s+{_TABLE}", re.IGNORECASE)
    for verb in (r"ALTER\s+TABLE", r"UPDATE", r"DELETE\s+FROM", r"DROP\s+TABLE", r"TRUNCATE")
]
_ALWAYS = {
    r"^LOCK\b": "locks a table",
    r"^VACUUM\s+FULL|^CLUSTER\b": "rewrites a table under a lock",
    r"^REINDEX\b(?!.*\bCONCURRENTLY\b)": "rebuilds an index under a lock",
}
_ON_OLD_TABLES = {
    r"^CREATE\s+(UNIQUE\s+)?INDEX\b(?!\s+CONCURRENTLY\b)": "builds an index under a lock",
    r"^(UPDATE|DELETE)\b": "changes rows in one transaction: do it in batches, from code",
    r"^DROP\s+TABLE\b|^TRUNCATE\b": "takes away what the previous release reads",
    r"\bDROP\s+COLUMN\b": "takes away what the previous release reads",
    r"\bRENAME\b": "renames what the previous release reads",
    r"\bSET\s+NOT\s+NULL\b": "reads the table under a lock: add a CHECK ... NOT VALID, validate it",
    r"\b(SET\s+DATA\s+)?TYPE\s": "rewrites the table under a lock: add a column",
    r"\bADD\s+(COLUMN\s+)?(?!CONSTRAINT|CHECK|UNIQUE|PRIMARY|FOREIGN|EXCLUDE)\w+\s+"
    r"(?=[^,]*\bNOT\s+NULL\b)(?![^,]*\bDEFAULT\b)": "adds NOT NULL without a default",
    r"\bDEFAULT\s+(gen_random_uuid|random|clock_timestamp|nextval|uuidv7)\s*\(": "writes each row",
    r"\bGENERATED\s+ALWAYS\s+AS\b(?!\s+IDENTITY)": "writes each row under a lock",
    r"\b(CHECK|REFERENCES)\b(?!.*\bNOT\s+VALID\b)": "reads the table under a lock: NOT VALID first",
    r"\b(PRIMARY\s+KEY|UNIQUE)\b(?!\s+(INDEX\s+CONCURRENTLY|USING\s+INDEX)\b)": "builds an index "
    "under a lock",
}
_REPEATABLE = re.compile(
    r"^(CREATE|DROP|CREATE\s+OR\s+REPLACE)\s+(FUNCTION|VIEW|TRIGGER|TYPE)\b", re.IGNORECASE
)


def statements(sql: str) -> list[str]:
    """Return the statements without comments, texts and the bodies of functions."""
    bare = re.sub(r"(\$\w*\$).*?\1", "$$", sql, flags=re.DOTALL)
    bare = re.sub(r"--[^\n]*|/\*.*?\*/", " ", bare, flags=re.DOTALL)
    bare = re.sub(r"'(?:[^']|'')*'", "''", bare)
    return [part.strip() for part in bare.split(";") if part.strip()]


def findings(files: Iterable[tuple[str, str]], *, released: int) -> list[str]:
    """Return what is wrong in a folder's files, each with the name of the file.

    Args:
        files: names, such as `0002_add_stops.sql`, with their texts.
        released: number of the last file that is in use somewhere.
    """
    files = [(name, text) for name, text in files if _number(name) > released]
    new = {
        found[1].lower()
        for _, text in files
        for each in statements(text)
        if (found := _CREATES.match(each))
    }
    return [
        f"{name}: {problem}: {' '.join(each.split())[:80]}"
        for name, text in files
        for each in statements(text)
        for problem in [*_problems(each, new), *_form(text)]
    ]


def repeatable_problems(sql: str) -> list[str]:
    """Return the statements of an `R_` file that do more than replace functions and views."""
    return [each for each in statements(sql) if not _REPEATABLE.match(each)]


def _number(name: str) -> int:
    return int(Path(name).name.partition("_")[0])


def _problems(statement: str, new: set[str]) -> list[str]:
    rules = dict(_ALWAYS)
    table = next((m[1].lower() for r in (_INDEX, *_CHANGES) if (m := r.match(statement))), None)
    if table is not None and table not in new:
        rules |= _ON_OLD_TABLES
    return [
        text
        for rule, text in rules.items()
        if re.search(rule, statement, re.IGNORECASE | re.DOTALL)
    ]


def _form(sql: str) -> list[str]:
    """Return what hinders the runner, which gives every other file a transaction."""
    is_alone = sql.startswith("-- no transaction\n")
    if not is_alone and "CONCURRENTLY" not in sql:
        return []
    shape = r"CREATE\s+(UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+IF\s+NOT\s+EXISTS\b"
    each = statements(sql)
    if is_alone and len(each) == 1 and re.match(shape, each[0], re.IGNORECASE):
        return []
    return ["`-- no transaction`, then one CREATE INDEX CONCURRENTLY IF NOT EXISTS, and no more"]
