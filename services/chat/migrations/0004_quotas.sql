-- NULL is no limit; messages_per_day is there already.
ALTER TABLE entitlement
    ADD COLUMN messages_per_month bigint CHECK (messages_per_month >= 0),
    ADD COLUMN tokens_per_day     bigint CHECK (tokens_per_day >= 0),
    ADD COLUMN tokens_per_month   bigint CHECK (tokens_per_month >= 0),
    ADD COLUMN concurrent_replies bigint CHECK (concurrent_replies >= 1);

-- The month is the one that `day` lies in; tokens are of replies that have ended.
ALTER TABLE quota
    ADD COLUMN month_used   integer NOT NULL DEFAULT 0 CHECK (month_used >= 0),
    ADD COLUMN tokens       bigint  NOT NULL DEFAULT 0 CHECK (tokens >= 0),
    ADD COLUMN month_tokens bigint  NOT NULL DEFAULT 0 CHECK (month_tokens >= 0);
UPDATE quota SET month_used = used; -- earlier days were not kept: this month begins with today

ALTER TABLE message
    ADD COLUMN counted_on date,  -- of a reply: the UTC day whose unit it took
    ADD COLUMN tokens     bigint; -- of a reply: held back while it is open, used once it has ended

-- A user's open replies: few, and counted at each post of who may have only so many.
CREATE INDEX message_open_of_user ON message (user_id) WHERE status IN ('queued', 'running');
