-- Reads on record as a ledger. Each recording task is a writer with a chain of its own, so that processes need not wait
-- for each other: `number` counts its records from 1 without a gap, `hash` covers the record and the hash before it, and
-- the last record of each batch is signed. A record without a writer was put there by somebody else.
ALTER TABLE log.reads
    ADD COLUMN writer    uuid,
    ADD COLUMN number    bigint,
    ADD COLUMN hash      bytea,
    ADD COLUMN signature bytea; -- Ed25519; of the last record of a batch
CREATE INDEX reads_of_writer ON log.reads (writer, number, read_id);
-- For the ledger of a case. Without a pending list: nobody's read is the one that has to flush it.
CREATE INDEX reads_of_case ON log.reads USING gin (case_ids) WITH (fastupdate = off);

-- How far each writer has come.
CREATE TABLE log.read_writers (
    writer uuid   PRIMARY KEY,
    key_id text   NOT NULL, -- the signing key
    number bigint NOT NULL,
    hash   bytea  NOT NULL
) WITH (fillfactor = 50);

-- What writers had come to now and then, in a chain of its own that the signed heads of the log name: an end of a
-- writer's chain that was cut off, or a whole writer that was removed, is missed here.
CREATE TABLE log.read_anchors (
    number        bigint PRIMARY KEY, -- from 1 without a gap
    at            bigint NOT NULL,    -- microseconds since 1970-01-01 UTC
    writer        uuid   NOT NULL,
    writer_number bigint NOT NULL,
    writer_hash   bytea  NOT NULL,
    hash          bytea  NOT NULL,
    signature     bytea  NOT NULL,    -- Ed25519
    key_id        text   NOT NULL
);
CREATE INDEX read_anchors_of_writer ON log.read_anchors (writer, writer_number);

-- Where the chain of each writer goes on after a month was dropped at the end of its retention.
CREATE TABLE log.read_closings (
    writer    uuid   NOT NULL,
    number    bigint NOT NULL, -- its last record in that month
    hash      bytea  NOT NULL,
    month     text   NOT NULL, -- as in the partition's name
    signature bytea  NOT NULL, -- Ed25519
    key_id    text   NOT NULL,
    PRIMARY KEY (writer, number)
);

-- The last anchor when the head was signed; 0 and empty before the first.
ALTER TABLE log.heads
    ADD COLUMN reads_number bigint NOT NULL DEFAULT 0,
    ADD COLUMN reads_hash   bytea  NOT NULL DEFAULT '';

-- The hash of each event by itself: what feeds are chained over, since the hash of the row depends on what others got.
ALTER TABLE log.events ADD COLUMN commitment bytea GENERATED ALWAYS AS
    (sha256('tasuki event 1'::bytea || int8send(octet_length(header)::bigint) || header || parts)) STORED;
