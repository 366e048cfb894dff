-- Users who are no more, each as a hash of their id, so that nothing that comes late brings any of
-- it back. Ids have 74 random bits: a hash tells who it was only to somebody who knows the id.
CREATE TABLE deleted_user (
    user_hash  bytea PRIMARY KEY,
    deleted_at timestamptz NOT NULL DEFAULT now()
);

-- In plpgsql, which plans it once a connection; sql would each time.
CREATE FUNCTION is_deleted_user(p_user_id uuid) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (SELECT FROM deleted_user WHERE user_hash = sha256(uuid_send(p_user_id)));
END $$;
