-- Which keyring this log was begun with, as fingerprints that tell nothing of its keys: a process with another one
-- would write what the others cannot open, and sign what they do not accept.
CREATE TABLE keys.keyring (
    only_one bool  PRIMARY KEY DEFAULT true CHECK (only_one),
    master   bytea NOT NULL, -- HMAC-SHA256 of a fixed text
    signing  text  NOT NULL, -- id of the signing key, as in log.heads
    digest   bytea NOT NULL  -- HMAC-SHA256 of a fixed text
);
