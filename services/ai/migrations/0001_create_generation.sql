-- One row per reply that was asked for. Texts live in chat alone; this is who writes, and what it cost.
CREATE TABLE generation (
    id            uuid        PRIMARY KEY, -- the reply's id
    user_id       uuid        NOT NULL,
    chatroom_id   uuid        NOT NULL,
    status        text        NOT NULL
        CHECK (status IN ('running', 'completed', 'failed', 'stopped')),
    attempt       integer     NOT NULL CHECK (attempt >= 1), -- the fence: only the newest may write
    worker        bigint      NOT NULL, -- key of the advisory lock that its process holds
    model         text        NOT NULL,
    finish_reason text,
    problem_code  text,
    prompt_tokens  integer    NOT NULL DEFAULT 0,
    cached_tokens  integer    NOT NULL DEFAULT 0,
    output_tokens  integer    NOT NULL DEFAULT 0,
    thoughts_tokens integer   NOT NULL DEFAULT 0,
    total_tokens   integer    NOT NULL DEFAULT 0,
    created_at    timestamptz NOT NULL,
    ended_at      timestamptz
);
