-- What nodes did while booting, and which MAC addresses were seen.
CREATE TABLE events (
    id       INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice: live views go by it
    at       INTEGER NOT NULL,
    mac      BLOB NOT NULL CHECK (length(mac) IN (0, 6)), -- empty: not known
    peer     TEXT NOT NULL,
    stage    TEXT NOT NULL,
    detail   TEXT NOT NULL,
    bytes    INTEGER NOT NULL,
    size     INTEGER NOT NULL,
    duration INTEGER NOT NULL -- nanoseconds
) STRICT;

CREATE INDEX events_by_mac ON events (mac, id);

CREATE TABLE seen (
    mac        BLOB PRIMARY KEY CHECK (length(mac) = 6),
    arch       TEXT NOT NULL,
    firmware   TEXT NOT NULL,
    uuid       TEXT NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL,
    boots      INTEGER NOT NULL,
    code       TEXT NOT NULL UNIQUE -- claim code
) STRICT, WITHOUT ROWID;

CREATE INDEX seen_by_time ON seen (last_seen DESC, mac);
