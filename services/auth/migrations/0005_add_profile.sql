-- What people say of themselves; version is the ETag, and tells others which change is newer.
ALTER TABLE account
    ADD COLUMN locale      text,
    ADD COLUMN timezone    text,
    ADD COLUMN preferences jsonb   NOT NULL DEFAULT '{}', -- the client's own, never read by us
    ADD COLUMN version     integer NOT NULL DEFAULT 1;
