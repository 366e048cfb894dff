-- A time-based one-time password (RFC 6238). `sealed` is its secret under a key derived from
-- AUTH_SECRET; it counts once a code has confirmed it. `last_step` is the time step of the newest
-- code that was accepted: none of that step or an earlier one is, again.
CREATE TABLE factor (
    user_id        uuid PRIMARY KEY REFERENCES account (id) ON DELETE CASCADE,
    sealed         bytea       NOT NULL,
    created_at     timestamptz NOT NULL,
    confirmed_at   timestamptz,
    last_step      bigint      NOT NULL DEFAULT 0,
    failures       smallint    NOT NULL DEFAULT 0,
    failures_since timestamptz
);

-- What is left of the codes that replace a lost device, each a keyed hash.
CREATE TABLE recovery_code (
    user_id   uuid  NOT NULL REFERENCES factor (user_id) ON DELETE CASCADE,
    code_hash bytea NOT NULL,
    PRIMARY KEY (user_id, code_hash)
);

-- A login whose one-time code was right and whose second factor is awaited.
CREATE TABLE factor_challenge (
    token_hash bytea PRIMARY KEY,
    user_id    uuid        NOT NULL REFERENCES factor (user_id) ON DELETE CASCADE,
    expires_at timestamptz NOT NULL,
    attempts   smallint    NOT NULL DEFAULT 0
);
CREATE INDEX factor_challenge_by_user ON factor_challenge (user_id);
CREATE INDEX factor_challenge_by_age ON factor_challenge (expires_at);

ALTER TABLE session ADD COLUMN has_factor boolean NOT NULL DEFAULT false;

-- Who is banned neither logs in nor refreshes; the reason is for those who may see accounts.
ALTER TABLE account
    ADD COLUMN role       text NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'support', 'admin')),
    ADD COLUMN banned_at  timestamptz,
    ADD COLUMN ban_reason text,
    ADD CHECK (banned_at IS NOT NULL OR ban_reason IS NULL);
CREATE INDEX account_with_role ON account (role) WHERE role <> 'user';
