-- Which key seals which part of a stream. The keys themselves lie in a store apart (key_store).
-- A part of its own has a scope of its own: the stream itself, another person, or an agency that notes something of
-- this stream. All of them belong to the stream, so that erasing it leaves none of them.
CREATE TABLE log.stream_keys (
    stream_id uuid     NOT NULL,
    scope     uuid     NOT NULL,
    part      smallint NOT NULL,
    key_id    uuid     NOT NULL,
    PRIMARY KEY (stream_id, scope, part)
);
-- Keys from before there were such scopes; what they wrap is taken over by the program, which then drops the schema.
INSERT INTO log.stream_keys SELECT scope, scope, part, key_id FROM keys.data_keys;
