-- What a program logs in with. Of the key itself only a keyed hash is here, and how it begins. `id` is
-- the `sid` of the access tokens that it is exchanged for.
CREATE TABLE api_key (
    id           uuid PRIMARY KEY,
    user_id      uuid        NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    key_hash     bytea       NOT NULL UNIQUE,
    prefix       text        NOT NULL,
    name         text        NOT NULL,
    scopes       text[]      NOT NULL,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz,
    last_used_at timestamptz,
    replaced_by  uuid
);
CREATE INDEX api_key_by_user ON api_key (user_id);
CREATE INDEX api_key_by_age ON api_key (expires_at);

-- Somebody without a phone number or an e-mail address yet; somebody whom another issuer knows.
-- Everybody else has exactly one of the two.
ALTER TABLE account
    ADD COLUMN guest boolean NOT NULL DEFAULT false,
    ADD COLUMN external boolean NOT NULL DEFAULT false,
    DROP CONSTRAINT account_check,
    ADD CONSTRAINT account_is_known_by_one
        CHECK (num_nonnulls(phone, email) = CASE WHEN guest OR external THEN 0 ELSE 1 END) NOT VALID;
CREATE INDEX account_guest ON account (created_at) WHERE guest;

-- Whom another issuer's tokens are of, by a keyed hash of issuer and subject. `user_id` is null once the
-- account is deleted, and tokens issued by `refused_until` open nothing.
CREATE TABLE external_login (
    subject_hash  bytea PRIMARY KEY,
    user_id       uuid REFERENCES account (id) ON DELETE SET NULL,
    session_id    uuid,
    refused_until timestamptz
);
CREATE INDEX external_login_by_user ON external_login (user_id);
