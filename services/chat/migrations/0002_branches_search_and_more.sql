-- Every user message hangs on the reply before it, every reply on its message: a tree. One path of
-- the tree is shown; ids grow along it, so that a page of it is a range of ids.
ALTER TABLE message
    ADD COLUMN parent_id         uuid,
    ADD COLUMN on_path           boolean NOT NULL DEFAULT true,
    ADD COLUMN client_message_id text, -- what the client calls its message
    ADD COLUMN thumb             text CHECK (thumb IN ('up', 'down')),
    ADD COLUMN feedback_reason   text,
    ADD COLUMN wanted_model      text; -- of a reply: what the user chose, NULL is the default

UPDATE message SET parent_id = earlier.parent_id
FROM (
    SELECT chatroom_id, id, lag(id) OVER (PARTITION BY chatroom_id ORDER BY id) AS parent_id
    FROM message
) earlier
WHERE message.chatroom_id = earlier.chatroom_id AND message.id = earlier.id;
UPDATE message SET parent_id = reply_to WHERE reply_to IS NOT NULL;

CREATE INDEX message_siblings ON message (chatroom_id, parent_id, id);
-- However many messages other branches hold, a page of the shown one reads only its own.
CREATE INDEX message_path ON message (chatroom_id, id) WHERE on_path;
CREATE UNIQUE INDEX message_client_id ON message (chatroom_id, client_message_id)
    WHERE client_message_id IS NOT NULL;

ALTER TABLE chatroom
    ADD COLUMN title_source text NOT NULL DEFAULT 'default'
        CHECK (title_source IN ('default', 'model', 'user')),
    ADD COLUMN pinned       boolean NOT NULL DEFAULT false,
    ADD COLUMN archived_at  timestamptz,
    ADD COLUMN metadata     jsonb   NOT NULL DEFAULT '{}', -- the client's own, never read by us
    ADD COLUMN version      integer NOT NULL DEFAULT 1,    -- the ETag
    ADD COLUMN hidden       boolean NOT NULL DEFAULT false, -- made for one OpenAI completion
    ADD COLUMN leaf_id      uuid,                          -- the last message of the shown path
    ADD COLUMN summary      text    NOT NULL DEFAULT '',   -- of the shown path up to summary_until
    ADD COLUMN summary_until uuid,
    ADD COLUMN summary_asked_until uuid;                   -- a summary up to here is being written

UPDATE chatroom SET leaf_id = last_message_id,
    title_source = CASE WHEN title = 'New chat' THEN 'default' ELSE 'user' END;

-- The owner is a word of every document, so that one index look-up finds only the owner's.
ALTER TABLE message ADD COLUMN search tsvector GENERATED ALWAYS AS (
    to_tsvector('simple', content) || array_to_tsvector(ARRAY['user:' || user_id::text])
) STORED;
CREATE INDEX message_search ON message USING gin (search);
ALTER TABLE chatroom ADD COLUMN search tsvector GENERATED ALWAYS AS (
    to_tsvector('simple', title) || array_to_tsvector(ARRAY['user:' || user_id::text])
) STORED;
CREATE INDEX chatroom_search ON chatroom USING gin (search);

ALTER TABLE entitlement ADD COLUMN models text[] NOT NULL DEFAULT '{}';
