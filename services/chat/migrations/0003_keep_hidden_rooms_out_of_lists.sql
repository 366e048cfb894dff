-- A client of the OpenAI bridge may leave thousands of hidden rooms a day: no list reads past them.
DROP INDEX chatroom_by_activity;
CREATE INDEX chatroom_by_activity ON chatroom (user_id, active_at DESC, id DESC) WHERE NOT hidden;
CREATE INDEX chatroom_hidden ON chatroom (created_at) WHERE hidden;
