-- Wrapped data keys, in a database apart from the log's: who has the log has none of them.
-- Deleting a row here is not enough to erase what it seals, since old copies of it lie in the write-ahead log and in
-- backups: erasure also makes a new master key and destroys the one that wrapped those copies.
CREATE SCHEMA IF NOT EXISTS key_store;

CREATE TABLE key_store.data_keys (
    key_id         uuid  PRIMARY KEY,
    wrapped        bytea NOT NULL, -- AES-256-GCM under the master key, with the id as associated data
    master_version int   NOT NULL
);

-- The versions of the master key by which something may be wrapped: one, and two while a rotation is under way.
CREATE TABLE key_store.masters (
    version     int   PRIMARY KEY,
    fingerprint bytea NOT NULL, -- HMAC-SHA256 of a fixed text
    current     bool  NOT NULL  -- wraps what is new
);
CREATE UNIQUE INDEX one_current_master ON key_store.masters (current) WHERE current;

-- The other keys of the keyring that the log was begun with, as fingerprints that tell nothing of them: a process with
-- other ones would sign what the others do not accept.
CREATE TABLE key_store.keyring (
    only_one bool  PRIMARY KEY DEFAULT true CHECK (only_one),
    signing  text  NOT NULL, -- id of the signing key, as in log.heads
    digest   bytea NOT NULL  -- HMAC-SHA256 of a fixed text
);

-- Keys that were erased. While the master of that version, or an older one, exists anywhere, copies of them can be opened.
CREATE TABLE key_store.erased (
    key_id         uuid        PRIMARY KEY,
    erased_at      timestamptz NOT NULL DEFAULT now(),
    master_version int         NOT NULL
);

-- Grows with every rotation and erasure: a process that sees it grow drops what it has cached.
CREATE TABLE key_store.generation (
    only_one bool   PRIMARY KEY DEFAULT true CHECK (only_one),
    number   bigint NOT NULL
);
INSERT INTO key_store.generation (number) VALUES (1);
