-- The whole of a post in one round trip: five of them would halve what a server takes (PERF 3.1).

DROP FUNCTION IF EXISTS post_message;
DROP FUNCTION IF EXISTS announce_next_reply;

-- Announce the room's oldest queued reply, unless one is open. The caller holds the room's lock.
CREATE FUNCTION announce_next_reply(
    p_chatroom_id uuid, p_event_id uuid, p_now timestamptz, p_traceparent text
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    next_reply record;
    history    json;
BEGIN
    SELECT reply.id, reply.user_id, question.id AS question_id, question.content
    INTO next_reply
    FROM message reply JOIN message question
        ON question.chatroom_id = reply.chatroom_id AND question.id = reply.reply_to
    WHERE reply.chatroom_id = p_chatroom_id AND reply.status = 'queued'
    ORDER BY reply.id
    LIMIT 1;
    IF NOT FOUND THEN
        RETURN false;
    END IF;

    -- Answered turns only: a question that failed must not be answered in place of this one.
    SELECT coalesce(json_agg(
        json_build_object('role', turn.role, 'content', turn.content) ORDER BY recent.id, turn.part
    ), '[]') INTO history
    FROM (
        SELECT answered.id, asked.content AS question, answered.content AS answer,
            sum(char_length(asked.content) + char_length(answered.content))
                OVER (ORDER BY answered.id DESC) AS characters
        FROM (
            SELECT id, reply_to, content, chatroom_id FROM message
            WHERE chatroom_id = p_chatroom_id AND id < next_reply.id
                AND role = 'assistant' AND status = 'completed'
            ORDER BY id DESC
            LIMIT 20
        ) answered JOIN message asked
            ON asked.chatroom_id = answered.chatroom_id AND asked.id = answered.reply_to
    ) recent CROSS JOIN LATERAL (
        VALUES (1, 'user', recent.question), (2, 'assistant', recent.answer)
    ) turn (part, role, content)
    WHERE recent.characters <= 48000;

    UPDATE message SET announced_at = p_now
    WHERE chatroom_id = p_chatroom_id AND id = next_reply.id;
    UPDATE chatroom SET open_reply_id = next_reply.id WHERE id = p_chatroom_id;
    INSERT INTO outbox (event_id, type, payload, traceparent)
    VALUES (p_event_id, 'chat.message_posted.v1', json_build_object(
        'event_id', p_event_id, 'occurred_at', p_now, 'user_id', next_reply.user_id,
        'chatroom_id', p_chatroom_id, 'message_id', next_reply.question_id,
        'reply_id', next_reply.id, 'content', next_reply.content, 'history', history
    )::text, p_traceparent);
    RETURN true;
END $$;

-- Store a message with its pending reply and consume one unit of quota, all or nothing.
-- outcome: accepted; replayed (the key was used for the same request, ids are those of then);
-- key_reused; no_room; limit (allowance tells the limit); behind (an id sorts before last_id).
CREATE FUNCTION post_message(
    p_user_id uuid, p_chatroom_id uuid, p_message_id uuid, p_reply_id uuid, p_event_id uuid,
    p_content text, p_idempotency_key text, p_now timestamptz, p_basic_allowance integer,
    p_traceparent text,
    OUT outcome text, OUT message_id uuid, OUT reply_id uuid, OUT created_at timestamptz,
    OUT allowance integer, OUT used integer, OUT last_id uuid
) LANGUAGE plpgsql AS $$
DECLARE
    room    record;
    earlier record;
    today   date := (p_now AT TIME ZONE 'UTC')::date;
BEGIN
    -- The lock makes a room's posts, and the ends of its replies, happen one after the other.
    SELECT c.open_reply_id, c.last_message_id INTO room
    FROM chatroom c WHERE c.id = p_chatroom_id AND c.user_id = p_user_id FOR UPDATE;
    IF NOT FOUND THEN
        outcome := 'no_room';
        RETURN;
    END IF;

    IF p_idempotency_key IS NOT NULL THEN
        SELECT m.id, m.chatroom_id, m.content, m.created_at, r.id AS reply_id INTO earlier
        FROM message m LEFT JOIN message r ON r.chatroom_id = m.chatroom_id AND r.reply_to = m.id
        WHERE m.user_id = p_user_id AND m.idempotency_key = p_idempotency_key;
        IF FOUND THEN
            outcome := CASE WHEN earlier.chatroom_id = p_chatroom_id AND earlier.content = p_content
                THEN 'replayed' ELSE 'key_reused' END;
            message_id := earlier.id;
            reply_id := earlier.reply_id;
            created_at := earlier.created_at;
            RETURN;
        END IF;
    END IF;

    IF p_message_id <= room.last_message_id OR p_reply_id <= p_message_id THEN
        outcome := 'behind';
        last_id := greatest(room.last_message_id, p_message_id);
        RETURN;
    END IF;

    SELECT e.messages_per_day INTO allowance FROM entitlement e WHERE e.user_id = p_user_id;
    IF NOT FOUND THEN
        allowance := p_basic_allowance;
    END IF;
    -- One atomic statement decides. Days only move forward, whatever the clocks of two processes
    -- say around midnight.
    INSERT INTO quota AS q (user_id, day, used)
    SELECT p_user_id, today, 1 WHERE allowance IS NULL OR allowance > 0
    ON CONFLICT (user_id) DO UPDATE SET
        used = CASE WHEN EXCLUDED.day > q.day THEN 1 ELSE q.used + 1 END,
        day = greatest(q.day, EXCLUDED.day)
    WHERE allowance IS NULL OR EXCLUDED.day > q.day OR q.used < allowance
    RETURNING q.used INTO used;
    IF used IS NULL THEN
        outcome := 'limit';
        RETURN;
    END IF;

    outcome := 'accepted';
    message_id := p_message_id;
    reply_id := p_reply_id;
    created_at := p_now;
    INSERT INTO message
        (chatroom_id, id, user_id, role, status, reply_to, content, idempotency_key, created_at,
         ended_at)
    VALUES
        (p_chatroom_id, p_message_id, p_user_id, 'user', 'completed', NULL, p_content,
         p_idempotency_key, p_now, p_now),
        (p_chatroom_id, p_reply_id, p_user_id, 'assistant', 'queued', p_message_id, '',
         NULL, p_now, NULL);
    UPDATE chatroom SET last_message_id = p_reply_id, active_at = p_now WHERE id = p_chatroom_id;
    IF room.open_reply_id IS NULL THEN
        PERFORM announce_next_reply(p_chatroom_id, p_event_id, p_now, p_traceparent);
    END IF;
END $$;
