-- When the primary was last known to take writes, as the primary itself wrote it. A standby that
-- reads it learns how old its own data is, whatever else it cannot know about its connection.
CREATE TABLE replication_heartbeat (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    beaten_at timestamptz NOT NULL
);
INSERT INTO replication_heartbeat (beaten_at) VALUES (clock_timestamp());
