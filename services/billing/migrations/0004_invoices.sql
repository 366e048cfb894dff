-- Our copy of Stripe's invoices, drafts excepted; amounts in the currency's smallest unit.
CREATE TABLE invoice (
    id                 text PRIMARY KEY,
    user_id            uuid        NOT NULL REFERENCES customer,
    subscription_id    text,
    number             text,
    status             text        NOT NULL,
    currency           text        NOT NULL,
    total              bigint      NOT NULL,
    amount_paid        bigint      NOT NULL,
    refunded_amount    bigint      NOT NULL,
    dispute_status     text,
    period_start       timestamptz NOT NULL,
    period_end         timestamptz NOT NULL,
    created_at         timestamptz NOT NULL,
    hosted_url         text,
    pdf_url            text,
    payment_intent_ids text[]      NOT NULL
);
CREATE INDEX invoice_newest ON invoice (user_id, created_at DESC, id DESC);
-- Disputes name the payment only.
CREATE INDEX invoice_by_payment ON invoice USING gin (payment_intent_ids);

-- price_id: what the session sells.
ALTER TABLE checkout ADD COLUMN price_id text;
