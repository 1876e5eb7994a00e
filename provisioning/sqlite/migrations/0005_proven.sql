-- How machines boot that were tried with several strategies, or with the first.
CREATE TABLE proven (
    mac    BLOB PRIMARY KEY CHECK (length(mac) = 6),
    client TEXT NOT NULL, -- which of its clients: pxe, http, ipxe
    nbp    TEXT NOT NULL,
    form   TEXT NOT NULL,
    since  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX proven_by_time ON proven (since DESC, mac);
