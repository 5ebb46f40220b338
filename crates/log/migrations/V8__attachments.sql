-- Documents of cases. What a document is stands in the event that adds it; its bytes lie here, sealed with the key of
-- the case, so that whatever destroys that key destroys them. They are in no event, so they never reach the broker.
CREATE TABLE log.attachments (
    attachment_id  uuid PRIMARY KEY,
    case_id        uuid NOT NULL, -- whose key seals the chunks
    agency_id      uuid NOT NULL,
    post_id        uuid NOT NULL, -- who announced it
    -- The rest is there until the document is in the log or thrown away.
    request_id     text,
    request_digest bytea,         -- HMAC of the request, so that another one under the same id is refused
    key_id         uuid,
    about          bytea,         -- the announcement, sealed
    expires_at     timestamptz,   -- none: it is in the log
    UNIQUE (agency_id, request_id)
);
CREATE INDEX unfinished_attachments_of_a_post ON log.attachments (post_id) WHERE expires_at IS NOT NULL;
CREATE INDEX unfinished_attachments ON log.attachments (expires_at) WHERE expires_at IS NOT NULL;

-- Never changed once written. Associated data of the seal: attachment, index, and SHA-256 of the whole document.
CREATE TABLE log.attachment_chunks (
    attachment_id uuid  NOT NULL REFERENCES log.attachments ON DELETE CASCADE,
    chunk_index   int   NOT NULL,
    key_id        uuid  NOT NULL,
    sealed        bytea NOT NULL,
    PRIMARY KEY (attachment_id, chunk_index)
);
-- Ciphertext does not compress.
ALTER TABLE log.attachment_chunks ALTER COLUMN sealed SET STORAGE EXTERNAL;
