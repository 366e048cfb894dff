-- granted: what the plan alone granted when the user was last announced; NULL of those who were
-- announced before this was kept, so they are once more. It takes the place of messages_per_day.
-- grants_change_at: when one of the user's grants begins or ends next.
-- announced: the plan and the entitlements of that announcement, grants included.
ALTER TABLE subscription
    ADD COLUMN granted          jsonb,
    ADD COLUMN grants_change_at timestamptz,
    ADD COLUMN announced        jsonb;
CREATE INDEX subscription_grants_due ON subscription (grants_change_at)
    WHERE grants_change_at IS NOT NULL;

-- What somebody may do besides their plan, for as long as it lasts.
-- entitlements: members of Entitlements that count in the place of the plan's.
-- granted_by: the admin, NULL once they have deleted their account.
-- ended_at: when an admin took it back.
CREATE TABLE entitlement_grant (
    id              uuid        PRIMARY KEY,
    user_id         uuid        NOT NULL REFERENCES customer,
    plan            text        CHECK (plan IN ('basic', 'pro')),
    entitlements    jsonb       NOT NULL DEFAULT '{}',
    reason          text        NOT NULL,
    granted_by      uuid,
    idempotency_key text,
    created_at      timestamptz NOT NULL,
    starts_at       timestamptz NOT NULL,
    expires_at      timestamptz,
    ended_at        timestamptz,
    CHECK (expires_at > starts_at)
);
CREATE INDEX entitlement_grant_of_user ON entitlement_grant (user_id, id);
CREATE UNIQUE INDEX entitlement_grant_key ON entitlement_grant
    (user_id, granted_by, idempotency_key) WHERE idempotency_key IS NOT NULL;
