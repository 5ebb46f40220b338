-- Keyed tokens of what tells one child from another. Without the key a token tells nothing of what it stands for;
-- erasure of a case is one DELETE. The events do not say what stands here: it goes with its case, they stay.
CREATE TABLE log.blind_index (
    case_id  uuid     NOT NULL,
    kind     smallint NOT NULL, -- what the token is made of: ClueKind of crates/domain
    token    bytea    NOT NULL, -- HMAC-SHA256 under a key of its own
    event_id uuid     NOT NULL, -- the event that says so: who may not read it finds nothing by it
    PRIMARY KEY (case_id, kind, token, event_id)
);
CREATE INDEX blind_index_of_a_token ON log.blind_index (token);

-- How many searches a post has left: a bucket that fills with time, shared by all processes.
CREATE TABLE log.search_allowance (
    post_id uuid             PRIMARY KEY,
    left_   double precision NOT NULL,
    at      timestamptz      NOT NULL
) WITH (fillfactor = 70);
