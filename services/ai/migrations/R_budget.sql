-- What a call may cost is held before it, and what it did cost is settled after it, in the
-- statements that begin and end a generation. Locks are taken in one order: generation, month, day.

DROP FUNCTION IF EXISTS claim_generation;
DROP FUNCTION IF EXISTS reserve_cost;
DROP FUNCTION IF EXISTS settle_cost;

-- Hold p_micros of the user's month, and of the day where p_day_limit is not NULL.
-- Returns NULL; or month or day if that much is not left there, and then nothing is held.
CREATE FUNCTION reserve_cost(
    p_user_id uuid, p_month date, p_day date, p_micros bigint, p_day_limit bigint
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    month_limit bigint;
BEGIN
    SELECT cost_micros_per_month INTO month_limit FROM entitlement WHERE user_id = p_user_id;
    -- One atomic statement decides, whoever else asks at the same moment.
    INSERT INTO budget AS b (user_id, month, settled_micros, reserved_micros)
    SELECT p_user_id, p_month, 0, p_micros WHERE month_limit IS NULL OR p_micros <= month_limit
    ON CONFLICT (user_id, month) DO UPDATE
    SET reserved_micros = b.reserved_micros + EXCLUDED.reserved_micros
    WHERE month_limit IS NULL
        OR b.settled_micros + b.reserved_micros + EXCLUDED.reserved_micros <= month_limit;
    IF NOT FOUND THEN
        RETURN 'month';
    END IF;
    IF p_day_limit IS NULL THEN
        RETURN NULL;
    END IF;
    INSERT INTO daily_budget AS d (day, settled_micros, reserved_micros)
    SELECT p_day, 0, p_micros WHERE p_micros <= p_day_limit
    ON CONFLICT (day) DO UPDATE SET reserved_micros = d.reserved_micros + EXCLUDED.reserved_micros
    WHERE d.settled_micros + d.reserved_micros + EXCLUDED.reserved_micros <= p_day_limit;
    IF NOT FOUND THEN
        UPDATE budget SET reserved_micros = reserved_micros - p_micros
        WHERE user_id = p_user_id AND month = p_month;
        RETURN 'day';
    END IF;
    RETURN NULL;
END $$;

-- Count what was spent where it ended, and give back what was held where it was held: the rows are
-- two if it is another month or day by then. p_counts_days: whether the installation has a limit.
CREATE FUNCTION settle_cost(
    p_user_id uuid, p_now timestamptz, p_micros bigint, p_counts_days boolean,
    p_reserved bigint, p_reserved_month date, p_reserved_day date
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    today CONSTANT date := (p_now AT TIME ZONE 'UTC')::date;
BEGIN
    INSERT INTO budget AS b (user_id, month, settled_micros, reserved_micros)
    SELECT p_user_id, change.month, sum(change.settled), sum(change.reserved)
    FROM (VALUES
        (date_trunc('month', today)::date, p_micros, 0), (p_reserved_month, 0, -p_reserved)
    ) AS change (month, settled, reserved)
    WHERE change.month IS NOT NULL
    GROUP BY change.month ORDER BY change.month
    ON CONFLICT (user_id, month) DO UPDATE
    SET settled_micros = b.settled_micros + EXCLUDED.settled_micros,
        reserved_micros = b.reserved_micros + EXCLUDED.reserved_micros;
    IF p_counts_days OR p_reserved_day IS NOT NULL THEN
        INSERT INTO daily_budget AS d (day, settled_micros, reserved_micros)
        SELECT change.day, sum(change.settled), sum(change.reserved)
        FROM (VALUES (today, p_micros, 0), (p_reserved_day, 0, -p_reserved))
            AS change (day, settled, reserved)
        WHERE change.day IS NOT NULL
        GROUP BY change.day ORDER BY change.day
        ON CONFLICT (day) DO UPDATE
        SET settled_micros = d.settled_micros + EXCLUDED.settled_micros,
            reserved_micros = d.reserved_micros + EXCLUDED.reserved_micros;
    END IF;
END $$;

-- Make p_worker the one that writes a reply, and hold p_micros for it unless something is held.
-- attempt is NULL if the reply has ended, its worker lives or the user was deleted.
-- refused: as of reserve_cost; the reply is the worker's all the same, to be ended.
CREATE FUNCTION claim_generation(
    p_id uuid, p_user_id uuid, p_chatroom_id uuid, p_worker bigint, p_model text,
    p_now timestamptz, p_micros bigint, p_day_limit bigint,
    OUT attempt integer, OUT stop_requested boolean, OUT refused text
) LANGUAGE plpgsql AS $$
DECLARE
    today CONSTANT date := (p_now AT TIME ZONE 'UTC')::date;
    month CONSTANT date := date_trunc('month', today)::date;
    held_day CONSTANT date := CASE WHEN p_day_limit IS NOT NULL THEN today END;
    held  bigint;
BEGIN
    -- As if all were well with the budget: then there is no second version of the row to write.
    INSERT INTO generation AS g (id, user_id, chatroom_id, status, attempt, worker, model,
        created_at, reserved_micros, reserved_month, reserved_day)
    SELECT p_id, p_user_id, p_chatroom_id, 'running', 1, p_worker, p_model, p_now, p_micros, month,
        held_day
    WHERE NOT is_deleted_user(p_user_id)
    ON CONFLICT (id) DO UPDATE SET attempt = g.attempt + 1, worker = EXCLUDED.worker
    WHERE g.status = 'running' AND CASE
        WHEN g.worker = EXCLUDED.worker THEN true
        ELSE pg_try_advisory_xact_lock_shared(g.worker) -- shared: many may claim at once
    END
    RETURNING g.attempt, g.stop_requested_at IS NOT NULL, g.reserved_micros
    INTO attempt, stop_requested, held;
    IF attempt IS NULL OR attempt > 1 AND held IS NOT NULL THEN
        RETURN;
    END IF;
    refused := reserve_cost(p_user_id, month, today, p_micros, p_day_limit);
    IF refused IS NOT NULL THEN
        UPDATE generation
        SET reserved_micros = NULL, reserved_month = NULL, reserved_day = NULL WHERE id = p_id;
    ELSIF attempt > 1 THEN
        UPDATE generation
        SET reserved_micros = p_micros, reserved_month = month, reserved_day = held_day
        WHERE id = p_id;
    END IF;
END $$;
