-- What a user may send: units of a UTC day and month, tokens, and replies that are open.
--
-- Limits and uses come as arrays of five: messages of the day and of the month, tokens of the day
-- and of the month, open replies. A limit that is NULL is none.
--
-- Messages and tokens of replies that have ended are kept in `quota`, under the row's lock. What is
-- open is counted where it is, in the replies themselves: nothing can be forgotten there, whichever
-- way a reply ends, and whoever dies.

DROP FUNCTION IF EXISTS consume_quota;
DROP FUNCTION IF EXISTS settle_quota;
DROP FUNCTION IF EXISTS quota_used;
DROP FUNCTION IF EXISTS estimated_tokens;

-- What counts against the limits at p_now, tokens of open replies as they are held back.
CREATE FUNCTION quota_used(p_user_id uuid, p_now timestamptz) RETURNS bigint[]
LANGUAGE plpgsql AS $$
DECLARE
    today date := (p_now AT TIME ZONE 'UTC')::date;
    month date;
    kept  record;
    held  record;
BEGIN
    SELECT q.day, q.used, q.month_used, q.tokens, q.month_tokens INTO kept
    FROM quota q WHERE q.user_id = p_user_id;
    today := greatest(today, kept.day);
    month := date_trunc('month', today::timestamp)::date;
    SELECT count(*) AS replies,
        coalesce(sum(m.tokens) FILTER (WHERE m.counted_on = today), 0) AS today,
        coalesce(sum(m.tokens) FILTER (WHERE m.counted_on >= month), 0) AS month
    INTO held
    FROM message m WHERE m.user_id = p_user_id AND m.status IN ('queued', 'running');
    RETURN ARRAY[
        CASE WHEN kept.day = today THEN kept.used ELSE 0 END,
        CASE WHEN kept.day >= month THEN kept.month_used ELSE 0 END,
        CASE WHEN kept.day = today THEN kept.tokens ELSE 0 END + held.today,
        CASE WHEN kept.day >= month THEN kept.month_tokens ELSE 0 END + held.month,
        held.replies
    ]::bigint[];
END $$;

-- What a reply may take at most, at four characters per token: its prompt, as ai will cut it, and
-- p_output_tokens. A reply that is being written counts as if it grew as long as it can.
CREATE FUNCTION estimated_tokens(
    p_chatroom_id uuid, p_content text, p_prompt_tokens integer, p_output_tokens integer
) RETURNS bigint LANGUAGE sql AS $$
    SELECT p_output_tokens + ceil(greatest(char_length(p_content), least(
        p_prompt_tokens * 4, char_length(p_content) + char_length(room.summary) + said.characters
    )) / 4.0)::bigint
    FROM chatroom room, (
        SELECT coalesce(sum(CASE WHEN status IN ('queued', 'running') THEN p_output_tokens * 4
            ELSE char_length(content) END), 0) AS characters
        FROM (
            SELECT status, content FROM message
            WHERE chatroom_id = p_chatroom_id AND on_path ORDER BY id DESC LIMIT 64
        ) newest
    ) said
    WHERE room.id = p_chatroom_id
$$;

-- Take one unit of the user's day and month for a reply in the room, and hold back its tokens.
-- p_limits, p_models: what counts where billing never spoke of the user.
-- outcome: NULL (taken), limit (at least one of them would be passed), no_model (not in the plan).
-- counted_on, tokens: what is to be stored with the reply; tokens only where they are limited.
-- used: with what was taken now; of what has no limit it may tell too little.
CREATE FUNCTION consume_quota(
    p_user_id uuid, p_chatroom_id uuid, p_content text, p_model text, p_now timestamptz,
    p_limits bigint[], p_models text[], p_prompt_tokens integer, p_output_tokens integer,
    OUT outcome text, OUT plan text, OUT counted_on date, OUT tokens bigint,
    OUT limits bigint[], OUT used bigint[]
) LANGUAGE plpgsql AS $$
DECLARE
    models text[];
    before bigint[] := ARRAY[0, 0, 0, 0, 0];
    today  CONSTANT date := (p_now AT TIME ZONE 'UTC')::date;
    month  CONSTANT date := date_trunc('month', today::timestamp)::date;
BEGIN
    tokens := 0;
    SELECT e.plan, e.models, ARRAY[e.messages_per_day, e.messages_per_month, e.tokens_per_day,
        e.tokens_per_month, e.concurrent_replies]
    INTO plan, models, limits
    FROM entitlement e WHERE e.user_id = p_user_id;
    IF NOT FOUND THEN
        limits := p_limits;
        models := p_models;
    END IF;
    IF p_model IS NOT NULL AND p_model <> ALL (models) THEN
        outcome := 'no_model';
        RETURN;
    END IF;

    IF num_nonnulls(limits[3], limits[4], limits[5]) > 0 THEN
        IF num_nonnulls(limits[3], limits[4]) > 0 THEN
            tokens := estimated_tokens(
                p_chatroom_id, p_content, p_prompt_tokens, p_output_tokens);
        END IF;
        -- All posts of a user wait for each other here: what is open is counted behind the lock.
        INSERT INTO quota (user_id, day, used) VALUES (p_user_id, today, 0) ON CONFLICT DO NOTHING;
        PERFORM FROM quota q WHERE q.user_id = p_user_id FOR UPDATE;
        before := quota_used(p_user_id, p_now);
        IF before[3] + tokens > limits[3] OR before[4] + tokens > limits[4]
            OR before[5] >= limits[5]
        THEN
            outcome := 'limit';
            used := before;
            RETURN;
        END IF;
    END IF;

    -- One atomic statement decides about messages. Days only move forward, whatever the clocks of
    -- two processes say around midnight.
    INSERT INTO quota AS q (user_id, day, used, month_used)
    SELECT p_user_id, today, 1, 1
    WHERE coalesce(limits[1], 1) > 0 AND coalesce(limits[2], 1) > 0
    ON CONFLICT (user_id) DO UPDATE SET
        day = greatest(q.day, today),
        used = CASE WHEN q.day < today THEN 1 ELSE q.used + 1 END,
        month_used = CASE WHEN q.day < month THEN 1 ELSE q.month_used + 1 END,
        tokens = CASE WHEN q.day < today THEN 0 ELSE q.tokens END,
        month_tokens = CASE WHEN q.day < month THEN 0 ELSE q.month_tokens END
    WHERE (limits[1] IS NULL OR q.day < today OR q.used < limits[1])
        AND (limits[2] IS NULL OR q.day < month OR q.month_used < limits[2])
    RETURNING q.day, ARRAY[
        q.used, q.month_used, before[3] + consume_quota.tokens,
        before[4] + consume_quota.tokens, before[5] + 1
    ] INTO counted_on, used;
    IF used IS NULL THEN
        outcome := 'limit';
        used := quota_used(p_user_id, p_now);
    END IF;
END $$;

-- Give a reply's unit back if it was free, and count the tokens that it took; both where that day,
-- or else its month, is still counted. The caller sees to it that this happens once.
CREATE FUNCTION settle_quota(p_user_id uuid, p_counted_on date, p_is_free boolean, p_tokens bigint)
RETURNS void LANGUAGE sql AS $$
    UPDATE quota SET
        used = greatest(0, used - (p_is_free AND day = p_counted_on)::integer),
        month_used = greatest(0, month_used
            - (p_is_free AND p_counted_on >= date_trunc('month', day::timestamp)::date)::integer),
        tokens = tokens + CASE WHEN day = p_counted_on THEN p_tokens ELSE 0 END,
        month_tokens = month_tokens + CASE
            WHEN p_counted_on >= date_trunc('month', day::timestamp)::date THEN p_tokens ELSE 0 END
    WHERE user_id = p_user_id AND (p_is_free OR p_tokens > 0)
$$;
