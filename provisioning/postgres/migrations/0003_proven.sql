-- How machines boot that were tried with several strategies, or with the first.
CREATE TABLE proven (
    mac    BYTEA PRIMARY KEY CHECK (length(mac) = 6),
    client TEXT NOT NULL, -- which of its clients: pxe, http, ipxe
    nbp    TEXT NOT NULL,
    form   TEXT NOT NULL,
    since  BIGINT NOT NULL
);

CREATE INDEX proven_by_time ON proven (since DESC, mac);
