CREATE TABLE chatroom (
    id              uuid        PRIMARY KEY,
    user_id         uuid        NOT NULL,
    title           text        NOT NULL CHECK (char_length(title) BETWEEN 1 AND 200),
    idempotency_key text,
    created_at      timestamptz NOT NULL,
    active_at       timestamptz NOT NULL, -- of the newest message; rooms are listed by it
    last_message_id uuid,                 -- ids in a room only grow, so this is their maximum
    open_reply_id   uuid                  -- the announced reply that has not ended; at most one
);
CREATE INDEX chatroom_by_activity ON chatroom (user_id, active_at DESC, id DESC);
CREATE UNIQUE INDEX chatroom_idempotency_key ON chatroom (user_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL;

CREATE TABLE message (
    chatroom_id     uuid        NOT NULL REFERENCES chatroom ON DELETE CASCADE,
    id              uuid        NOT NULL,
    user_id         uuid        NOT NULL,
    role            text        NOT NULL CHECK (role IN ('user', 'assistant')),
    status          text        NOT NULL
        CHECK (status IN ('queued', 'running', 'completed', 'failed', 'stopped')),
    reply_to        uuid, -- of a reply: the message it answers
    content         text        NOT NULL DEFAULT '',
    problem         jsonb, -- of a failed reply: code, detail, retryable
    attempt         integer     NOT NULL DEFAULT 0,
    model           text,
    finish_reason   text,
    idempotency_key text,
    created_at      timestamptz NOT NULL,
    announced_at    timestamptz, -- of a reply: when ai was asked for it
    ended_at        timestamptz,
    PRIMARY KEY (chatroom_id, id),
    CHECK ((role = 'assistant') = (reply_to IS NOT NULL))
);
CREATE UNIQUE INDEX message_idempotency_key ON message (user_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
-- The open replies: few, so that the next of a room and the overdue ones are found at once.
CREATE INDEX message_open ON message (chatroom_id, id) WHERE status IN ('queued', 'running');

-- What billing last announced; a user without a row has the Basic plan.
CREATE TABLE entitlement (
    user_id          uuid    PRIMARY KEY,
    version          bigint  NOT NULL,
    plan             text    NOT NULL,
    messages_per_day integer CHECK (messages_per_day >= 0) -- NULL is no limit
);

-- What a user sent on the newest UTC day they sent anything.
CREATE TABLE quota (
    user_id uuid    PRIMARY KEY,
    day     date    NOT NULL,
    used    integer NOT NULL CHECK (used >= 0)
);
