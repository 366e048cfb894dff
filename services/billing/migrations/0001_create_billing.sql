-- attempt: calls to Stripe whose outcome we know; part of the next one's idempotency key.
CREATE TABLE customer (
    user_id            uuid PRIMARY KEY,
    stripe_customer_id text UNIQUE,
    email              text,
    phone              text,
    name               text,
    attempt            bigint NOT NULL DEFAULT 1
);

-- Our copy of Stripe's state; a user without a row is Basic and never subscribed.
CREATE TABLE subscription (
    user_id                uuid PRIMARY KEY REFERENCES customer,
    stripe_subscription_id text,
    status                 text    NOT NULL DEFAULT 'none',
    plan                   text    NOT NULL DEFAULT 'basic' CHECK (plan IN ('basic', 'pro')),
    version                bigint  NOT NULL DEFAULT 0 CHECK (version >= 0),
    current_period_end     timestamptz,
    cancel_at_period_end   boolean NOT NULL DEFAULT false,
    as_of                  timestamptz
);
CREATE INDEX subscription_by_age ON subscription (as_of);

-- The one session that a user may pay.
CREATE TABLE checkout (
    user_id    uuid PRIMARY KEY REFERENCES customer,
    session_id text        NOT NULL UNIQUE,
    url        text        NOT NULL,
    expires_at timestamptz NOT NULL
);

-- applied_at: when Stripe's present state was copied because of it, or that it needs no copying.
CREATE TABLE stripe_event (
    id          text PRIMARY KEY,
    type        text        NOT NULL,
    customer_id text,
    payload     text        NOT NULL,
    received_at timestamptz NOT NULL,
    applied_at  timestamptz,
    attempts    integer     NOT NULL DEFAULT 0,
    next_try_at timestamptz NOT NULL,
    error       text,
    CHECK (customer_id IS NOT NULL OR applied_at IS NOT NULL)
);
CREATE INDEX stripe_event_waiting ON stripe_event (next_try_at) WHERE applied_at IS NULL;
CREATE INDEX stripe_event_waiting_by_customer ON stripe_event (customer_id)
    WHERE applied_at IS NULL;
