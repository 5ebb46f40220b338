-- Revoked credentials (kind 7) are part of the directory, which is read whole by every process that starts.
DROP INDEX log.events_of_the_directory;
CREATE INDEX events_of_the_directory ON log.events (position) WHERE stream_kind IN (4, 5, 6, 7);
