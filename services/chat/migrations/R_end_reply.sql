-- The whole end of a reply in one round trip, as a post is.

DROP FUNCTION IF EXISTS end_reply;

-- Store how an open reply ended, and announce the room's next one. A no-op if the event was acted on
-- before, the room is gone or the reply has ended. A reply without a word costs nothing: its unit and
-- its tokens go back. Of a room that is gone the tokens count nevertheless, else deleting it in time
-- would save them.
-- p_tokens: what the reply has used; NULL if nobody knows, then what was held back for it counts.
-- p_event_id: the event that told, NULL if none did. p_event_ids: as of announce_next_reply.
-- Returns whether something was announced.
CREATE FUNCTION end_reply(
    p_event_id uuid, p_chatroom_id uuid, p_reply_id uuid, p_user_id uuid, p_status text,
    p_attempt integer, p_content text, p_model text, p_finish_reason text, p_problem jsonb,
    p_tokens bigint, p_event_ids uuid[], p_now timestamptz, p_traceparent text
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    is_free CONSTANT boolean := p_status IN ('failed', 'stopped') AND p_content = '';
    spent   record;
BEGIN
    IF p_event_id IS NOT NULL THEN
        INSERT INTO inbox (consumer, event_id) VALUES ('end_reply', p_event_id)
        ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            RETURN false;
        END IF;
    END IF;

    PERFORM FROM chatroom WHERE id = p_chatroom_id FOR UPDATE; -- as a post does
    IF NOT FOUND THEN
        IF p_event_id IS NOT NULL AND NOT is_free THEN
            PERFORM settle_quota(
                p_user_id, (p_now AT TIME ZONE 'UTC')::date, false, coalesce(p_tokens, 0));
        END IF;
        RETURN false;
    END IF;
    UPDATE message SET status = p_status, attempt = p_attempt, content = p_content,
        model = coalesce(p_model, CASE attempt WHEN p_attempt THEN model END),
        finish_reason = p_finish_reason, problem = p_problem, ended_at = p_now,
        tokens = CASE WHEN is_free THEN 0 ELSE coalesce(p_tokens, tokens, 0) END
    WHERE chatroom_id = p_chatroom_id AND id = p_reply_id AND status IN ('queued', 'running')
    RETURNING coalesce(counted_on, (created_at AT TIME ZONE 'UTC')::date) AS day, tokens
    INTO spent;
    IF NOT FOUND THEN
        RETURN false;
    END IF;

    PERFORM settle_quota(p_user_id, spent.day, is_free, spent.tokens);
    UPDATE chatroom SET open_reply_id = NULL
    WHERE id = p_chatroom_id AND open_reply_id = p_reply_id;
    RETURN announce_next_reply(p_chatroom_id, p_event_ids, p_now, p_traceparent);
END $$;
