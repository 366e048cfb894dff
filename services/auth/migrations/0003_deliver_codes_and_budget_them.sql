-- Codes on their way. `sealed` holds recipient and text under a key derived from AUTH_SECRET and is
-- cleared once the row is settled; nothing else here leads to a person.
CREATE TABLE code_delivery (
    id          uuid PRIMARY KEY,
    channel     text        NOT NULL CHECK (channel IN ('sms', 'email')),
    status      text        NOT NULL DEFAULT 'queued'
                            CHECK (status IN ('queued', 'sent', 'failed')),
    sealed      bytea,
    attempts    smallint    NOT NULL DEFAULT 0,
    due_at      timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    provider    text,
    provider_id text,
    error       text,
    CHECK ((status = 'queued') = (sealed IS NOT NULL))
);
CREATE INDEX code_delivery_due ON code_delivery (due_at) WHERE status = 'queued';
CREATE INDEX code_delivery_by_age ON code_delivery (expires_at);

-- What sends used up since then: cost units of all of them (`all`), or how many went to a range of
-- 10,000 phone numbers (`+1415555`) and how many of those codes came back.
CREATE TABLE send_budget (
    name     text PRIMARY KEY,
    since    timestamptz NOT NULL,
    used     integer     NOT NULL,
    verified integer     NOT NULL DEFAULT 0
);
CREATE INDEX send_budget_by_age ON send_budget (since);
