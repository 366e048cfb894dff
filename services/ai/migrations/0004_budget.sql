-- What the models cost, and may still cost: `settled` is what the ledger has, `reserved` what the
-- generations that run may add to it. The first table is of a user's UTC month, the second of the
-- whole installation's UTC day, and counts only while it has a limit.
CREATE TABLE budget (
    user_id         uuid   NOT NULL,
    month           date   NOT NULL,
    settled_micros  bigint NOT NULL, -- millionths of a US dollar
    reserved_micros bigint NOT NULL,
    PRIMARY KEY (user_id, month)
);
CREATE TABLE daily_budget (
    day             date   PRIMARY KEY,
    settled_micros  bigint NOT NULL,
    reserved_micros bigint NOT NULL
);
INSERT INTO budget (user_id, month, settled_micros, reserved_micros)
SELECT user_id, date_trunc('month', ended_at AT TIME ZONE 'UTC')::date AS month, sum(cost_micros), 0
FROM usage_ledger
WHERE user_id IS NOT NULL AND ended_at >= date_trunc('month', now(), 'UTC')
GROUP BY user_id, month;

-- What a generation holds while it runs, and of which month and day; NULL: nothing.
ALTER TABLE generation
    ADD COLUMN reserved_micros bigint,
    ADD COLUMN reserved_month  date,
    ADD COLUMN reserved_day    date;

ALTER TABLE entitlement ADD COLUMN cost_micros_per_month bigint -- NULL is no limit
    CHECK (cost_micros_per_month >= 0);
