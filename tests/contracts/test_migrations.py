"""M1: no migration keeps users waiting, or takes away what the previous release needs."""

from pathlib import Path

import pytest

from libs.common.migrate import LOCK_TIMEOUT_S, SHARED
from tests.contracts.blocking import RELEASED, findings, repeatable_problems
from tests.contracts.tree import ROOT, SCHEMAS

FOLDERS = {"common": SHARED} | {name: ROOT / f"services/{name}/migrations" for name in SCHEMAS}
OLD = "ALTER TABLE old "


def files(folder: str) -> list[tuple[str, str]]:
    return [(path.name, path.read_text()) for path in sorted(FOLDERS[folder].glob("[0-9]*.sql"))]


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_migration_of_this_release_blocks_a_table_that_is_in_use(folder: str) -> None:
    """M1: nothing is found in any file that no release has yet."""
    assert findings(files(folder), released=RELEASED[folder]) == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_release_is_one_that_was_made_of_these_files(folder: str) -> None:
    numbers = [int(name.partition("_")[0]) for name, _ in files(folder)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert RELEASED[folder] in {0, *numbers}


@pytest.mark.parametrize("path", [p for f in FOLDERS.values() for p in f.glob("R_*.sql")], ids=str)
def test_what_is_applied_again_and_again_only_replaces_functions_and_views(path: Path) -> None:
    """M1: so it touches no row, whatever the release."""
    assert repeatable_problems(path.read_text()) == []


def test_a_statement_of_a_migration_waits_for_a_lock_at_most_10_s() -> None:
    """M1: and with it all who come after it; libs/common/tests/test_migrate.py sees it give up."""
    assert 0 < LOCK_TIMEOUT_S <= 10


def test_what_is_harmless_in_a_first_release_is_found_once_the_table_is_in_use() -> None:
    """M1: the files of chat, had 0003 been released."""
    found = "\n".join(findings(files("chat"), released=3))

    assert (
        "0004_quotas.sql: builds an index under a lock: CREATE INDEX message_open_of_user" in found
    )
    assert "0004_quotas.sql: changes rows in one transaction" in found


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE INDEX i ON old (a)",
        "create unique index i on old (a)",
        f"{OLD}ADD COLUMN a int NOT NULL",
        f"{OLD}ADD COLUMN b int, ADD COLUMN a int NOT NULL, ADD COLUMN c int DEFAULT 1",
        f"{OLD}ADD COLUMN a uuid NOT NULL DEFAULT gen_random_uuid()",
        f"{OLD}ADD COLUMN a int GENERATED ALWAYS AS (b + 1) STORED",
        f"{OLD}ALTER COLUMN a SET NOT NULL",
        f"{OLD}ALTER COLUMN a TYPE bigint",
        f"{OLD}ALTER COLUMN a SET DATA TYPE bigint",
        f"{OLD}RENAME COLUMN a TO b",
        f"{OLD}RENAME TO new",
        f"{OLD}DROP COLUMN a",
        f"{OLD}ADD CONSTRAINT c CHECK (a > 0)",
        f"{OLD}ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES other (id)",
        f"{OLD}ADD UNIQUE (a)",
        f"{OLD}ADD PRIMARY KEY (a)",
        "DROP TABLE old",
        "TRUNCATE old",
        "UPDATE old SET a = 1",
        "DELETE FROM old",
        "LOCK TABLE young",
        "VACUUM FULL young",
        "REINDEX TABLE young",
        "CREATE INDEX CONCURRENTLY i ON old (a)",  # the runner's transaction would refuse it
        "-- no transaction\nCREATE INDEX CONCURRENTLY i ON old (a)",  # a second run would fail
        "-- no transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS i ON old (a); SELECT 1",
        "-- no transaction\nALTER TABLE old ADD COLUMN a int",
    ],
)
def test_what_blocks_or_breaks_is_found(sql: str) -> None:
    """M1: NOT NULL, non-concurrent indexes, changes of type, renames and their like."""
    assert findings([("0002_x.sql", sql)], released=1)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE young (id int PRIMARY KEY, a int NOT NULL CHECK (a > 0) UNIQUE)",
        "CREATE TABLE young (id int); CREATE INDEX i ON young (a); UPDATE young SET a = 1",
        f"{OLD}ADD COLUMN a int",
        f"{OLD}ADD COLUMN a int NOT NULL DEFAULT 0",
        f"{OLD}ADD CONSTRAINT c CHECK (a IS NOT NULL) NOT VALID",
        f"{OLD}VALIDATE CONSTRAINT c",
        f"{OLD}ADD CONSTRAINT c UNIQUE USING INDEX i",
        f"{OLD}ALTER COLUMN a DROP NOT NULL",
        f"{OLD}ADD COLUMN a int; -- RENAME it later",
        "-- no transaction\nCREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON old (a)",
        "DROP INDEX i",
        "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ UPDATE old SET a = 1 $$",
    ],
)
def test_what_does_neither_passes(sql: str) -> None:
    """M1: also on the tables of the previous release."""
    assert findings([("0002_x.sql", sql)], released=1) == []
