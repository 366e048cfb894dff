-- Of a deleted user the ledger keeps what was spent, when and on what, and not by whom.
ALTER TABLE usage_ledger
    ALTER COLUMN user_id DROP NOT NULL,
    ALTER COLUMN chatroom_id DROP NOT NULL;

CREATE INDEX generation_by_user ON generation (user_id);
