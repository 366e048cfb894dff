-- The whole end of a reply in one round trip, as a post is.

DROP FUNCTION IF EXISTS end_reply;

-- Store how an open reply ended, and announce the room's next one. A no-op if the event was acted on
-- before, the room is gone or the reply has ended. A reply without a word costs no quota: its unit
-- goes back, if the UTC day that it was taken from is still counted.
-- p_event_id: the event that told, NULL if none did. p_event_ids: as of announce_next_reply.
-- Returns what was put into the outbox.
CREATE FUNCTION end_reply(
    p_event_id uuid, p_chatroom_id uuid, p_reply_id uuid, p_user_id uuid, p_status text,
    p_attempt integer, p_content text, p_model text, p_finish_reason text, p_problem jsonb,
    p_event_ids uuid[], p_now timestamptz, p_traceparent text
) RETURNS outbox[] LANGUAGE plpgsql AS $$
DECLARE
    asked_at timestamptz;
BEGIN
    IF p_event_id IS NOT NULL THEN
        INSERT INTO inbox (consumer, event_id) VALUES ('end_reply', p_event_id)
        ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            RETURN '{}';
        END IF;
    END IF;

    PERFORM FROM chatroom WHERE id = p_chatroom_id FOR UPDATE; -- as a post does
    IF NOT FOUND THEN
        RETURN '{}';
    END IF;
    UPDATE message SET status = p_status, attempt = p_attempt, content = p_content,
        model = coalesce(p_model, CASE attempt WHEN p_attempt THEN model END),
        finish_reason = p_finish_reason, problem = p_problem, ended_at = p_now
    WHERE chatroom_id = p_chatroom_id AND id = p_reply_id AND status IN ('queued', 'running')
    RETURNING created_at INTO asked_at;
    IF NOT FOUND THEN
        RETURN '{}';
    END IF;

    IF p_status IN ('failed', 'stopped') AND p_content = '' THEN
        UPDATE quota SET used = used - 1
        WHERE user_id = p_user_id AND day = (asked_at AT TIME ZONE 'UTC')::date AND used > 0;
    END IF;
    UPDATE chatroom SET open_reply_id = NULL
    WHERE id = p_chatroom_id AND open_reply_id = p_reply_id;
    RETURN announce_next_reply(p_chatroom_id, p_event_ids, p_now, p_traceparent);
END $$;
