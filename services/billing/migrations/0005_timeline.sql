-- Why a user has the standing that they have: only ever added to, and erased with the user.
-- events: ids and types of Stripe's events that this look at Stripe settled.
CREATE TABLE timeline (
    user_id uuid        NOT NULL REFERENCES customer,
    seq     bigint      GENERATED ALWAYS AS IDENTITY,
    at      timestamptz NOT NULL,
    cause   text        NOT NULL,
    effect  text        NOT NULL,
    events  jsonb       NOT NULL DEFAULT '[]',
    before  jsonb       NOT NULL,
    after   jsonb       NOT NULL,
    PRIMARY KEY (user_id, seq)
);

CREATE FUNCTION refuse_to_change_timeline() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the timeline is only ever added to';
END
$$;
CREATE TRIGGER timeline_is_append_only BEFORE UPDATE ON timeline
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_timeline();

-- Subscriptions that a user has beside another one, found and then healed: cancelled, and what was
-- paid for them since then given back. Once it is found, no crash lets it be forgotten.
CREATE TABLE duplicate_subscription (
    stripe_subscription_id text PRIMARY KEY,
    user_id   uuid        NOT NULL REFERENCES customer,
    kept_id   text        NOT NULL,
    since     timestamptz NOT NULL,
    found_at  timestamptz NOT NULL,
    healed_at timestamptz
);
CREATE INDEX duplicate_subscription_by_user ON duplicate_subscription (user_id);

CREATE INDEX stripe_event_waiting_longest ON stripe_event (received_at, id)
    WHERE applied_at IS NULL;
