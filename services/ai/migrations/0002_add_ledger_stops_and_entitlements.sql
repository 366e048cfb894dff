-- When a user asked for the end of a reply that is being written.
ALTER TABLE generation ADD COLUMN stop_requested_at timestamptz;

-- What ended generations cost, one row each; written in the transaction of the end.
CREATE TABLE usage_ledger (
    kind            text        NOT NULL CHECK (kind IN ('reply', 'title', 'summary')),
    subject_id      uuid        NOT NULL, -- the reply; for a summary the event that asked for it
    user_id         uuid        NOT NULL,
    chatroom_id     uuid        NOT NULL,
    model           text        NOT NULL, -- empty if none was asked
    prompt_tokens   bigint      NOT NULL,
    cached_tokens   bigint      NOT NULL, -- part of prompt_tokens
    output_tokens   bigint      NOT NULL,
    thoughts_tokens bigint      NOT NULL,
    tools_tokens    bigint      NOT NULL,
    total_tokens    bigint      NOT NULL, -- sum of Gemini's totalTokenCount over all calls
    price_version   text        NOT NULL, -- 'unpriced' where we know no price
    cost_micros     bigint      NOT NULL, -- millionths of a US dollar
    estimated       boolean     NOT NULL, -- a call was broken off, so its tokens are characters / 4
    ended_at        timestamptz NOT NULL,
    PRIMARY KEY (kind, subject_id)
);
CREATE INDEX usage_ledger_by_user ON usage_ledger (user_id, ended_at);

INSERT INTO usage_ledger (
    kind, subject_id, user_id, chatroom_id, model, prompt_tokens, cached_tokens, output_tokens,
    thoughts_tokens, tools_tokens, total_tokens, price_version, cost_micros, estimated, ended_at)
SELECT 'reply', id, user_id, chatroom_id, model, prompt_tokens, cached_tokens, output_tokens,
    thoughts_tokens, 0, total_tokens, 'unpriced', 0, status <> 'completed', coalesce(ended_at, now())
FROM generation
WHERE status <> 'running';

-- generation's token columns stay for now: processes of the version before still write them.

-- What users may choose, as billing last announced it.
CREATE TABLE entitlement (
    user_id uuid   PRIMARY KEY,
    version bigint NOT NULL,
    models  text[] NOT NULL
);
