-- version: of auth's account, 0 for what was announced at the registration.
ALTER TABLE customer ADD COLUMN version integer NOT NULL DEFAULT 0;
