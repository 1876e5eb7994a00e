-- Farmers and their nodes. The application id is "FBOT": it tells our files from others.
PRAGMA application_id = 1178750804;

CREATE TABLE farmers (
    id   INTEGER PRIMARY KEY CHECK (id BETWEEN 1 AND 4294967295),
    name TEXT NOT NULL
) STRICT;

CREATE TABLE nodes (
    mac     BLOB PRIMARY KEY CHECK (length(mac) = 6),
    farmer  INTEGER REFERENCES farmers (id), -- NULL: none
    runmode TEXT NOT NULL,
    args    TEXT NOT NULL,
    kernel  TEXT NOT NULL,
    name    TEXT NOT NULL,
    nbp     TEXT NOT NULL, -- network boot program; empty: the default
    created INTEGER NOT NULL, -- all times: Unix milliseconds
    updated INTEGER NOT NULL,
    owned   INTEGER NOT NULL, -- since when it is that farmer's
    -- as people write it, to find a part of it
    mac_text TEXT NOT NULL GENERATED ALWAYS AS (lower(
        substr(hex(mac), 1, 2) || ':' || substr(hex(mac), 3, 2) || ':' || substr(hex(mac), 5, 2) || ':' ||
        substr(hex(mac), 7, 2) || ':' || substr(hex(mac), 9, 2) || ':' || substr(hex(mac), 11, 2))) STORED
) STRICT, WITHOUT ROWID;

CREATE INDEX nodes_by_farmer ON nodes (farmer, mac);
CREATE INDEX nodes_by_runmode ON nodes (runmode, mac);
