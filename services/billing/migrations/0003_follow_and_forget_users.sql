-- version: of auth's account, 0 for what was announced at the registration.
ALTER TABLE customer ADD COLUMN version integer NOT NULL DEFAULT 0;

-- Customers of Stripe who were deleted here: what webhooks still tell of them is not stored.
CREATE TABLE deleted_customer (
    customer_hash bytea PRIMARY KEY,
    deleted_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX stripe_event_by_customer ON stripe_event (customer_id);
