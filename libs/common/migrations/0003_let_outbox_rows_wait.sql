-- due_at: from when on any relay may publish the event. Until then whoever stored it does so itself.
ALTER TABLE outbox ADD COLUMN due_at timestamptz NOT NULL DEFAULT now();
