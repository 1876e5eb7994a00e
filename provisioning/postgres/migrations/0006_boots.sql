-- One row for each boot, in place of one for each of its events: the program packs the
-- events of former versions into boots, and drops their table.
CREATE TABLE boots (
    id    BIGINT PRIMARY KEY, -- that of its first event
    last  BIGINT NOT NULL,    -- that of its last event
    mac   BYTEA NOT NULL CHECK (length(mac) IN (0, 6)), -- empty: not known
    peer  TEXT NOT NULL, -- whose it is as long as mac is not known
    began BIGINT NOT NULL,
    ended BIGINT NOT NULL,
    steps BYTEA NOT NULL -- its events, as package boots packs them
);

CREATE INDEX boots_by_mac ON boots (mac, id);
CREATE INDEX boots_by_peer ON boots (peer) WHERE length(mac) = 0;

-- The ID that was given to an event last, in one row: none is used twice, live views go
-- by them.
CREATE TABLE event_ids (
    one  BIGINT PRIMARY KEY CHECK (one = 1),
    last BIGINT NOT NULL
);
