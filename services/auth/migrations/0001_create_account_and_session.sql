-- A person, known by exactly one identifier; `verified_at` is set by the first right code.
CREATE TABLE account (
    id          uuid PRIMARY KEY,
    phone       text UNIQUE,
    email       text UNIQUE,
    name        text,
    created_at  timestamptz NOT NULL,
    verified_at timestamptz,
    CHECK (num_nonnulls(phone, email) = 1)
);

-- What billing last said. No foreign key: it may speak of a user before we know of them.
CREATE TABLE plan (
    user_id uuid PRIMARY KEY,
    version bigint NOT NULL,
    plan    text   NOT NULL
);

-- The latest code of an identifier, whether anybody signed up with it or not. The code itself is
-- derived from id, nonce and AUTH_SECRET; neither it nor the identifier can be read from here.
CREATE TABLE one_time_code (
    identifier_hash bytea PRIMARY KEY,
    id              uuid          NOT NULL,
    nonce           bytea         NOT NULL,
    expires_at      timestamptz   NOT NULL,
    attempts        smallint      NOT NULL DEFAULT 0,
    used_at         timestamptz,
    sent_at         timestamptz[] NOT NULL DEFAULT '{}'
);
CREATE INDEX one_time_code_by_age ON one_time_code (expires_at);

-- One login. Refresh tokens are derived from id, generation, nonce and AUTH_SECRET.
CREATE TABLE session (
    id         uuid PRIMARY KEY,
    user_id    uuid        NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    nonce      bytea       NOT NULL,
    generation integer     NOT NULL DEFAULT 1,
    rotated_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz
);
CREATE INDEX session_by_user ON session (user_id);
CREATE INDEX session_by_age ON session (expires_at);

-- Ed25519 keys, sealed with a key derived from AUTH_SECRET. All are published, the newest signs.
CREATE TABLE signing_key (
    kid        text PRIMARY KEY,
    sealed     bytea       NOT NULL,
    created_at timestamptz NOT NULL
);
