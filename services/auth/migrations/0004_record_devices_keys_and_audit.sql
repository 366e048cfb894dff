-- What logged in, for its user to recognise: "Firefox on Linux". No address is kept.
ALTER TABLE session ADD COLUMN device text;

-- A key is published before it signs, so that everybody knows it by then.
ALTER TABLE signing_key ADD COLUMN signs_from timestamptz NOT NULL DEFAULT now();

-- What happened to accounts. Each row's hash covers the one before, so none can be changed or taken
-- from the middle unseen. Rows name users by id only and outlive them.
CREATE TABLE audit (
    seq       bigint PRIMARY KEY,
    at        timestamptz NOT NULL,
    actor     uuid,
    subject   uuid,
    action    text        NOT NULL,
    detail    jsonb       NOT NULL,
    prev_hash bytea       NOT NULL,
    hash      bytea       NOT NULL
);
CREATE INDEX audit_by_subject ON audit (subject, seq);

CREATE FUNCTION refuse_to_change_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is only ever added to';
END
$$;
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_audit();
