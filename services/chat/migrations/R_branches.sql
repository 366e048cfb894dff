-- Which of a room's branches is shown. The callers hold the room's lock.

DROP FUNCTION IF EXISTS switch_path;
DROP FUNCTION IF EXISTS show_path;
DROP FUNCTION IF EXISTS has_open_reply;
DROP VIEW IF EXISTS message_detail;

CREATE FUNCTION has_open_reply(p_chatroom_id uuid) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM message
        WHERE chatroom_id = p_chatroom_id AND status IN ('queued', 'running')
    );
END $$;

-- Let the path end at the message: its ancestors are shown, nothing else. NULL is the empty path.
-- A summary that tells more than what stays is forgotten.
CREATE FUNCTION show_path(p_chatroom_id uuid, p_leaf_id uuid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    fork   uuid; -- the newest ancestor that is shown already, and with it all before it
    branch uuid[];
BEGIN
    WITH RECURSIVE ancestor AS (
        SELECT m.id, m.parent_id, m.on_path FROM message m
        WHERE m.chatroom_id = p_chatroom_id AND m.id = p_leaf_id
        UNION ALL
        SELECT m.id, m.parent_id, m.on_path
        FROM ancestor JOIN message m
            ON m.chatroom_id = p_chatroom_id AND m.id = ancestor.parent_id
        WHERE NOT ancestor.on_path
    )
    SELECT (array_agg(id) FILTER (WHERE on_path))[1], array_agg(id) FILTER (WHERE NOT on_path)
    INTO fork, branch
    FROM ancestor;
    fork := coalesce(fork, '00000000-0000-0000-0000-000000000000');

    UPDATE message SET on_path = false
    WHERE chatroom_id = p_chatroom_id AND on_path AND id > fork;
    UPDATE message SET on_path = true WHERE chatroom_id = p_chatroom_id AND id = ANY (branch);
    UPDATE chatroom SET leaf_id = p_leaf_id,
        summary = CASE WHEN summary_until > fork THEN '' ELSE summary END,
        summary_until = CASE WHEN summary_until > fork THEN NULL ELSE summary_until END,
        summary_asked_until =
            CASE WHEN summary_asked_until > fork THEN NULL ELSE summary_asked_until END
    WHERE id = p_chatroom_id;
END $$;

-- Show the branch that the message is on: below it, the newest child at each step.
-- outcome: switched; no_room; no_message; reply_in_progress.
CREATE FUNCTION switch_path(p_user_id uuid, p_chatroom_id uuid, p_message_id uuid)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    leaf uuid;
BEGIN
    PERFORM FROM chatroom WHERE id = p_chatroom_id AND user_id = p_user_id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 'no_room';
    END IF;
    WITH RECURSIVE below AS (
        SELECT m.id FROM message m WHERE m.chatroom_id = p_chatroom_id AND m.id = p_message_id
        UNION ALL
        SELECT child.id
        FROM below CROSS JOIN LATERAL (
            SELECT m.id FROM message m
            WHERE m.chatroom_id = p_chatroom_id AND m.parent_id = below.id
            ORDER BY m.id DESC LIMIT 1
        ) child
    )
    SELECT id INTO leaf FROM below ORDER BY id DESC LIMIT 1; -- ids grow along a branch
    IF leaf IS NULL THEN
        RETURN 'no_message';
    END IF;
    IF has_open_reply(p_chatroom_id) THEN
        RETURN 'reply_in_progress';
    END IF;
    PERFORM show_path(p_chatroom_id, leaf);
    RETURN 'switched';
END $$;

-- A message as clients see it, with the ids that it can be switched to, its own among them.
CREATE VIEW message_detail AS
SELECT m.chatroom_id, m.id, m.user_id, m.role, m.status, m.reply_to, m.parent_id, m.on_path,
    m.content, m.problem, coalesce(m.model, m.wanted_model) AS model, m.finish_reason,
    m.client_message_id, m.thumb, m.feedback_reason, m.created_at, m.ended_at,
    CASE WHEN m.parent_id IS NULL THEN ARRAY(
        SELECT s.id FROM message s
        WHERE s.chatroom_id = m.chatroom_id AND s.parent_id IS NULL
        ORDER BY s.parent_id, s.id -- all alike, but without it the index's order is not seen
    ) ELSE ARRAY(
        SELECT s.id FROM message s
        WHERE s.chatroom_id = m.chatroom_id AND s.parent_id = m.parent_id ORDER BY s.id
    ) END AS sibling_ids
FROM message m;
