-- Wrong guesses at an identifier's codes, whichever code they were made at, and since when they
-- are counted; a right one clears both.
ALTER TABLE one_time_code
    ADD COLUMN failures       smallint NOT NULL DEFAULT 0,
    ADD COLUMN failures_since timestamptz;

-- What a network did lately. The hash stands for the network and the kind of thing it did.
CREATE TABLE address_count (
    address_hash bytea PRIMARY KEY,
    count        integer     NOT NULL,
    since        timestamptz NOT NULL
);
CREATE INDEX address_count_by_age ON address_count (since);

-- Nobody else knows of these: they are announced once they are verified.
CREATE INDEX account_unverified ON account (created_at) WHERE verified_at IS NULL;
