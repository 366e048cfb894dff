-- settled_at: when it became clear that the session will not be paid any more, or was.
ALTER TABLE checkout ADD COLUMN settled_at timestamptz;

-- messages_per_day: what was announced last, NULL for any number; BASIC_MESSAGES_PER_DAY may differ.
ALTER TABLE subscription ADD COLUMN messages_per_day integer;

-- swept_at: when the sweep last tried this customer, whatever came of it.
ALTER TABLE customer ADD COLUMN swept_at timestamptz;

CREATE INDEX stripe_event_by_age ON stripe_event (received_at);
