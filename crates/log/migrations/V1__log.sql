-- The log: the only truth. Positions are gapless and ascending; nothing is ever updated or deleted in `events`.
CREATE SCHEMA IF NOT EXISTS log;

CREATE TABLE log.events (
    position    bigint      PRIMARY KEY,
    epoch       bigint      NOT NULL,
    stream_kind smallint    NOT NULL,
    stream_id   uuid        NOT NULL,
    version     bigint      NOT NULL,
    event_id    uuid        NOT NULL,
    recorded_at bigint      NOT NULL, -- microseconds since 1970-01-01 UTC, never decreasing
    header      bytea       NOT NULL, -- tasuki.event.v1.Header, as hashed
    parts       bytea       NOT NULL, -- sealed parts: each a 4-byte big-endian length and its ciphertext
    hash        bytea       NOT NULL, -- of the previous row's hash and of everything in this row
    UNIQUE (stream_id, version),
    UNIQUE (event_id)
);
-- Large values are ciphertext or small: neither compresses.
ALTER TABLE log.events ALTER COLUMN header SET STORAGE EXTERNAL, ALTER COLUMN parts SET STORAGE EXTERNAL;
-- A referral's row is about 3 kB: in line it costs one write, out of line two.
ALTER TABLE log.events SET (toast_tuple_target = 8160);
-- The directory is read whole by every process that starts (kinds 4, 5, 6: agency, post, municipality).
CREATE INDEX events_of_the_directory ON log.events (position) WHERE stream_kind IN (4, 5, 6);

CREATE TABLE log.streams (
    stream_id uuid     PRIMARY KEY,
    kind      smallint NOT NULL,
    version   bigint   NOT NULL
) WITH (fillfactor = 70);

-- Where a referral, hand-off, meeting or consultation lives: the stream in which it began.
CREATE TABLE log.items (
    item_id   uuid PRIMARY KEY,
    stream_id uuid NOT NULL
);

-- The responsible post of each case, so that a post is never retired from under one.
CREATE TABLE log.leads (
    case_id uuid PRIMARY KEY,
    post_id uuid NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX leads_of_a_post ON log.leads (post_id);

-- One row per accepted command: a retry gets the original answer.
CREATE TABLE log.requests (
    agency_id      uuid   NOT NULL,
    request_id     text   NOT NULL,
    digest         bytea  NOT NULL, -- HMAC of method and request, so that another body is refused
    first_position bigint NOT NULL,
    events         int    NOT NULL,
    recorded_at    bigint NOT NULL,
    reply          bytea  NOT NULL, -- opaque ids only
    PRIMARY KEY (agency_id, request_id)
);

-- Signed heads of the chain, one per flush.
CREATE TABLE log.heads (
    position  bigint PRIMARY KEY,
    epoch     bigint NOT NULL,
    hash      bytea  NOT NULL,
    signature bytea  NOT NULL, -- Ed25519
    key_id    text   NOT NULL
);

-- Bumped by every event that can change who may read what of a case; reads hold their row while they commit.
CREATE TABLE log.disclosures (
    case_id uuid   PRIMARY KEY,
    epoch   bigint NOT NULL
) WITH (fillfactor = 70);

-- What was read, by whom, for what: written and committed before the answer leaves.
CREATE TABLE log.reads (
    read_id        uuid        NOT NULL,
    read_at        timestamptz NOT NULL,
    agency_id      uuid        NOT NULL,
    post_id        uuid        NOT NULL,
    purpose        text        NOT NULL,
    method         text        NOT NULL,
    case_ids       uuid[]      NOT NULL,
    event_ids      uuid[]      NOT NULL,
    fact_keys      text[]      NOT NULL,
    grant_ids      uuid[]      NOT NULL,
    policy_version int         NOT NULL,
    PRIMARY KEY (read_at, read_id)
) PARTITION BY RANGE (read_at);
CREATE TABLE log.reads_default PARTITION OF log.reads DEFAULT;

-- Data keys, wrapped by the master key. A schema of their own: nothing in `log` refers to it.
CREATE SCHEMA IF NOT EXISTS keys;
CREATE TABLE keys.data_keys (
    key_id         uuid     PRIMARY KEY,
    scope          uuid     NOT NULL, -- the stream, other subject or agency whose data it seals
    part           smallint NOT NULL,
    wrapped        bytea    NOT NULL,
    master_version int      NOT NULL,
    UNIQUE (scope, part)
);
