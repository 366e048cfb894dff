-- The whole of a post in one round trip: five of them would halve what a server takes (PERF 3.1).

DROP FUNCTION IF EXISTS post_message;
DROP FUNCTION IF EXISTS regenerate_reply;
DROP FUNCTION IF EXISTS announce_next_reply;

-- Announce the room's oldest queued reply, unless one is open. The caller holds the room's lock.
-- p_event_ids: of MessagePosted, MessageChanged (not used here), ConversationGrew.
--
-- The prompt holds what the path says after the summary: up to 40,000 characters and 32 turns, so
-- that a long room costs no more than a young one. Past 32,000 characters or 24 turns a summary is
-- asked for, of all but the newest 24,000 characters and 16 turns: nothing falls out of the prompt
-- while that summary is being written.
CREATE FUNCTION announce_next_reply(
    p_chatroom_id uuid, p_event_ids uuid[], p_now timestamptz, p_traceparent text
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    next_reply record;
    context    record;
    first_id   CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
BEGIN
    SELECT reply.id, reply.user_id, reply.wanted_model, question.id AS question_id,
        question.content, room.summary, room.summary_until, room.summary_asked_until, room.hidden,
        coalesce(granted.plan, 'basic') AS plan,
        room.title_source = 'default' AND NOT room.hidden AS untitled
    INTO next_reply
    FROM chatroom room
    JOIN message reply ON reply.chatroom_id = room.id AND reply.status = 'queued'
    JOIN message question ON question.chatroom_id = room.id AND question.id = reply.reply_to
    LEFT JOIN entitlement granted ON granted.user_id = reply.user_id
    WHERE room.id = p_chatroom_id AND room.open_reply_id IS NULL
    ORDER BY reply.id
    LIMIT 1;
    IF NOT FOUND THEN
        RETURN false;
    END IF;

    -- Answered turns only: a question that failed must not be answered in place of this one.
    WITH path AS (
        SELECT id, role, status, reply_to, content FROM message
        WHERE chatroom_id = p_chatroom_id AND on_path AND id < next_reply.question_id
            AND id > coalesce(next_reply.summary_until, first_id)
        ORDER BY id DESC
        LIMIT 64
    ), answered AS (
        SELECT id, question, content AS answer,
            row_number() OVER newest_first AS turn,
            sum(char_length(question) + char_length(content)) OVER newest_first AS characters
        FROM (
            SELECT path.*, lead(id) OVER newest_first AS question_id,
                lead(content) OVER newest_first AS question
            FROM path WINDOW newest_first AS (ORDER BY id DESC)
        ) pairs
        WHERE role = 'assistant' AND reply_to = question_id
            AND (status = 'completed' OR status = 'stopped' AND content <> '')
        WINDOW newest_first AS (ORDER BY id DESC)
    )
    SELECT
        coalesce('[' || string_agg(
            '{"role":"user","content":' || to_json(question)
            || '},{"role":"assistant","content":' || to_json(answer) || '}', ','
        ) FILTER (WHERE turn = 1 OR characters <= 40000) || ']', '[]')::json AS history,
        ('[' || string_agg(
            '{"role":"user","content":' || to_json(left(question, 8000))
            || '},{"role":"assistant","content":' || to_json(left(answer, 8000)) || '}', ','
        ) FILTER (WHERE outgrown) || ']')::json AS outgrown,
        max(id::text) FILTER (WHERE outgrown)::uuid AS outgrown_until,
        count(*) = 0 AS is_first,
        coalesce(bool_or(is_long), false) AS is_long,
        coalesce(bool_or(is_long) FILTER (WHERE id > next_reply.summary_asked_until), false)
            AS is_long_since_asked
    INTO context
    FROM (
        SELECT *, characters > 32000 OR turn > 24 AS is_long,
            turn > 1 AND (turn > 16 OR characters > 24000) AS outgrown
        FROM answered
        ORDER BY id
    ) oldest_first;

    UPDATE message SET announced_at = p_now
    WHERE chatroom_id = p_chatroom_id AND id = next_reply.id;
    UPDATE chatroom SET open_reply_id = next_reply.id WHERE id = p_chatroom_id;
    INSERT INTO outbox (event_id, type, payload, traceparent)
    VALUES (p_event_ids[1], CASE next_reply.plan
        WHEN 'basic' THEN 'chat.message_posted.v1' ELSE 'chat.priority_message_posted.v1'
    END, json_build_object(
        'event_id', p_event_ids[1], 'occurred_at', p_now, 'user_id', next_reply.user_id,
        'chatroom_id', p_chatroom_id, 'message_id', next_reply.question_id,
        'reply_id', next_reply.id, 'content', next_reply.content, 'history', context.history,
        'summary', next_reply.summary, 'model', next_reply.wanted_model,
        'plan', next_reply.plan,
        'wants_title', next_reply.untitled AND context.is_first AND next_reply.summary = ''
    )::text, p_traceparent);

    -- Once per stretch; again if a whole stretch went by without an answer.
    IF context.is_long AND context.outgrown IS NOT NULL AND NOT next_reply.hidden AND (
        context.is_long_since_asked OR coalesce(next_reply.summary_asked_until, first_id)
            <= coalesce(next_reply.summary_until, first_id)
    ) THEN
        UPDATE chatroom SET summary_asked_until = context.outgrown_until WHERE id = p_chatroom_id;
        INSERT INTO outbox (event_id, type, payload, traceparent)
        VALUES (p_event_ids[3], 'chat.conversation_grew.v1', json_build_object(
            'event_id', p_event_ids[3], 'occurred_at', p_now, 'user_id', next_reply.user_id,
            'chatroom_id', p_chatroom_id, 'summary', next_reply.summary,
            'turns', context.outgrown, 'until', context.outgrown_until
        )::text, p_traceparent);
    END IF;
    RETURN true;
END $$;

-- Store a message with its pending reply and consume one unit of quota, all or nothing.
-- With p_edits it takes the place of that message: same parent, and the path goes on through it.
-- p_event_ids: of MessagePosted, MessageChanged, ConversationGrew.
-- outcome: accepted; replayed (the key or the client's id was used for the same request, ids are
-- those of then); key_reused; no_room; no_message (nothing to edit); reply_in_progress; no_model;
-- limit; behind (an id sorts before last_id). plan, limits, used, tokens: as of consume_quota.
CREATE FUNCTION post_message(
    p_user_id uuid, p_chatroom_id uuid, p_message_id uuid, p_reply_id uuid, p_event_ids uuid[],
    p_content text, p_edits uuid, p_client_message_id text, p_model text, p_idempotency_key text,
    p_now timestamptz, p_limits bigint[], p_models text[], p_prompt_tokens integer,
    p_output_tokens integer, p_traceparent text,
    OUT outcome text, OUT message_id uuid, OUT reply_id uuid, OUT parent_id uuid,
    OUT created_at timestamptz, OUT last_id uuid, OUT plan text, OUT tokens bigint,
    OUT limits bigint[], OUT used bigint[]
) LANGUAGE plpgsql AS $$
DECLARE
    room    record;
    earlier record;
    day     date;
BEGIN
    -- The lock makes a room's posts, and the ends of its replies, happen one after the other.
    SELECT c.open_reply_id, c.last_message_id, c.leaf_id, c.hidden INTO room
    FROM chatroom c WHERE c.id = p_chatroom_id AND c.user_id = p_user_id FOR UPDATE;
    IF NOT FOUND THEN
        outcome := 'no_room';
        RETURN;
    END IF;

    IF p_idempotency_key IS NOT NULL OR p_client_message_id IS NOT NULL THEN
        SELECT m.id, m.chatroom_id, m.role, m.content, m.created_at, m.parent_id,
            m.client_message_id, r.id AS reply_id, r.wanted_model INTO earlier
        FROM (
            SELECT 1 AS rank, by_key.* FROM message by_key
            WHERE by_key.user_id = p_user_id AND by_key.idempotency_key = p_idempotency_key
            UNION ALL
            SELECT 2, by_id.* FROM message by_id
            WHERE by_id.chatroom_id = p_chatroom_id
                AND by_id.client_message_id = p_client_message_id
        ) m LEFT JOIN LATERAL ( -- the first: others are regenerated ones
            SELECT reply.id, reply.wanted_model FROM message reply
            WHERE reply.chatroom_id = m.chatroom_id AND reply.parent_id = m.id
            ORDER BY reply.id LIMIT 1
        ) r ON true
        ORDER BY m.rank
        LIMIT 1;
        IF FOUND THEN
            -- A plain post hangs on a leaf, so only an edit has a sibling that is older than it.
            outcome := CASE WHEN earlier.chatroom_id = p_chatroom_id AND earlier.role = 'user'
                AND earlier.content = p_content
                AND earlier.client_message_id IS NOT DISTINCT FROM p_client_message_id
                AND earlier.wanted_model IS NOT DISTINCT FROM p_model
                AND (p_edits IS NOT NULL) = EXISTS (
                    SELECT FROM message m
                    WHERE m.chatroom_id = p_chatroom_id AND m.id < earlier.id
                        AND (m.parent_id = earlier.parent_id
                            OR m.parent_id IS NULL AND earlier.parent_id IS NULL)
                        AND m.id = coalesce(p_edits, m.id)
                ) THEN 'replayed' ELSE 'key_reused' END;
            message_id := earlier.id;
            reply_id := earlier.reply_id;
            parent_id := earlier.parent_id;
            created_at := earlier.created_at;
            RETURN;
        END IF;
    END IF;

    IF p_message_id <= room.last_message_id OR p_reply_id <= p_message_id THEN
        outcome := 'behind';
        last_id := greatest(room.last_message_id, p_message_id);
        RETURN;
    END IF;

    parent_id := room.leaf_id;
    IF p_edits IS NOT NULL THEN
        SELECT m.parent_id INTO parent_id FROM message m
        WHERE m.chatroom_id = p_chatroom_id AND m.id = p_edits AND m.role = 'user';
        IF NOT FOUND THEN
            outcome := 'no_message';
            RETURN;
        END IF;
        IF has_open_reply(p_chatroom_id) THEN
            outcome := 'reply_in_progress';
            RETURN;
        END IF;
    END IF;

    SELECT q.outcome, q.plan, q.counted_on, q.tokens, q.limits, q.used
    INTO outcome, plan, day, tokens, limits, used
    FROM consume_quota(p_user_id, p_chatroom_id, p_content, p_model, p_now, p_limits, p_models,
        p_prompt_tokens, p_output_tokens) q;
    IF outcome IS NOT NULL THEN
        RETURN;
    END IF;

    outcome := 'accepted';
    message_id := p_message_id;
    reply_id := p_reply_id;
    created_at := p_now;
    IF p_edits IS NOT NULL THEN
        PERFORM show_path(p_chatroom_id, parent_id);
    END IF;
    INSERT INTO message
        (chatroom_id, id, user_id, role, status, reply_to, parent_id, content, wanted_model,
         client_message_id, idempotency_key, created_at, ended_at, counted_on, tokens)
    VALUES
        (p_chatroom_id, p_message_id, p_user_id, 'user', 'completed', NULL, parent_id, p_content,
         NULL, p_client_message_id, p_idempotency_key, p_now, p_now, NULL, NULL),
        (p_chatroom_id, p_reply_id, p_user_id, 'assistant', 'queued', p_message_id, p_message_id,
         '', p_model, NULL, NULL, p_now, NULL, day, tokens);
    UPDATE chatroom SET last_message_id = p_reply_id, leaf_id = p_reply_id, active_at = p_now
    WHERE id = p_chatroom_id;
    -- Before what other devices are told, for somebody waits for the reply.
    IF room.open_reply_id IS NULL THEN
        PERFORM announce_next_reply(p_chatroom_id, p_event_ids, p_now, p_traceparent);
    END IF;
    IF NOT room.hidden THEN
        INSERT INTO outbox (event_id, type, payload, traceparent)
        VALUES (p_event_ids[2], 'chat.message_changed.v1', json_build_object(
            'event_id', p_event_ids[2], 'occurred_at', p_now, 'user_id', p_user_id,
            'chatroom_id', p_chatroom_id, 'message_id', p_message_id, 'change', 'created',
            'content', p_content, 'client_message_id', p_client_message_id,
            'parent_id', parent_id, 'reply_id', p_reply_id, 'created_at', p_now
        )::text, p_traceparent);
    END IF;
END $$;

-- Ask for another reply to a message, or to the message that a reply answers; the path goes on
-- through the new one. Outcomes as of post_message; message_id and content are the question's.
CREATE FUNCTION regenerate_reply(
    p_user_id uuid, p_chatroom_id uuid, p_message_id uuid, p_reply_id uuid, p_event_ids uuid[],
    p_model text, p_idempotency_key text, p_now timestamptz, p_limits bigint[], p_models text[],
    p_prompt_tokens integer, p_output_tokens integer, p_traceparent text,
    OUT outcome text, OUT message_id uuid, OUT reply_id uuid, OUT parent_id uuid,
    OUT created_at timestamptz, OUT last_id uuid, OUT plan text, OUT tokens bigint,
    OUT limits bigint[], OUT used bigint[], OUT content text, OUT client_message_id text
) LANGUAGE plpgsql AS $$
DECLARE
    room    record;
    earlier record;
    day     date;
BEGIN
    SELECT c.last_message_id, c.hidden INTO room
    FROM chatroom c WHERE c.id = p_chatroom_id AND c.user_id = p_user_id FOR UPDATE;
    IF NOT FOUND THEN
        outcome := 'no_room';
        RETURN;
    END IF;
    SELECT question.id, question.parent_id, question.created_at, question.content,
        question.client_message_id
    INTO message_id, parent_id, created_at, content, client_message_id
    FROM message m JOIN message question
        ON question.chatroom_id = m.chatroom_id AND question.id = coalesce(m.reply_to, m.id)
    WHERE m.chatroom_id = p_chatroom_id AND m.id = p_message_id;
    IF NOT FOUND THEN
        outcome := 'no_message';
        RETURN;
    END IF;

    IF p_idempotency_key IS NOT NULL THEN
        SELECT m.id, m.chatroom_id, m.reply_to, m.wanted_model INTO earlier
        FROM message m WHERE m.user_id = p_user_id AND m.idempotency_key = p_idempotency_key;
        IF FOUND THEN
            outcome := CASE WHEN earlier.chatroom_id = p_chatroom_id
                AND earlier.reply_to IS NOT DISTINCT FROM message_id
                AND earlier.wanted_model IS NOT DISTINCT FROM p_model
                THEN 'replayed' ELSE 'key_reused' END;
            reply_id := earlier.id;
            RETURN;
        END IF;
    END IF;
    IF p_reply_id <= room.last_message_id THEN
        outcome := 'behind';
        last_id := room.last_message_id;
        RETURN;
    END IF;
    IF has_open_reply(p_chatroom_id) THEN
        outcome := 'reply_in_progress';
        RETURN;
    END IF;

    SELECT q.outcome, q.plan, q.counted_on, q.tokens, q.limits, q.used
    INTO outcome, plan, day, tokens, limits, used
    FROM consume_quota(p_user_id, p_chatroom_id, content, p_model, p_now, p_limits, p_models,
        p_prompt_tokens, p_output_tokens) q;
    IF outcome IS NOT NULL THEN
        RETURN;
    END IF;

    outcome := 'accepted';
    reply_id := p_reply_id;
    PERFORM show_path(p_chatroom_id, message_id);
    INSERT INTO message
        (chatroom_id, id, user_id, role, status, reply_to, parent_id, wanted_model,
         idempotency_key, created_at, counted_on, tokens)
    VALUES
        (p_chatroom_id, p_reply_id, p_user_id, 'assistant', 'queued', message_id, message_id,
         p_model, p_idempotency_key, p_now, day, tokens);
    UPDATE chatroom SET last_message_id = p_reply_id, leaf_id = p_reply_id, active_at = p_now
    WHERE id = p_chatroom_id;
    IF NOT room.hidden THEN
        INSERT INTO outbox (event_id, type, payload, traceparent)
        VALUES (p_event_ids[2], 'chat.message_changed.v1', json_build_object(
            'event_id', p_event_ids[2], 'occurred_at', p_now, 'user_id', p_user_id,
            'chatroom_id', p_chatroom_id, 'message_id', message_id, 'change', 'updated',
            'parent_id', parent_id, 'reply_id', p_reply_id, 'created_at', created_at
        )::text, p_traceparent);
    END IF;
    PERFORM announce_next_reply(p_chatroom_id, p_event_ids, p_now, p_traceparent);
END $$;
