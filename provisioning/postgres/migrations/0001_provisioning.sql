-- Farmers, their nodes, what nodes did while booting, who may use the API, who is
-- signed in to the pages, and who changed what. All times are Unix milliseconds.
CREATE TABLE farmers (
    id   BIGINT PRIMARY KEY CHECK (id BETWEEN 1 AND 4294967295),
    name TEXT NOT NULL
);

CREATE TABLE nodes (
    mac     BYTEA PRIMARY KEY CHECK (length(mac) = 6),
    farmer  BIGINT REFERENCES farmers (id), -- NULL: none
    runmode TEXT NOT NULL,
    args    TEXT NOT NULL,
    kernel  TEXT NOT NULL,
    name    TEXT NOT NULL,
    nbp     TEXT NOT NULL, -- network boot program; empty: the default
    created BIGINT NOT NULL,
    updated BIGINT NOT NULL,
    owned   BIGINT NOT NULL, -- since when it is that farmer's
    -- as people write it, to find a part of it
    mac_text TEXT NOT NULL GENERATED ALWAYS AS (
        substr(encode(mac, 'hex'), 1, 2) || ':' || substr(encode(mac, 'hex'), 3, 2) || ':' || substr(encode(mac, 'hex'), 5, 2) || ':' ||
        substr(encode(mac, 'hex'), 7, 2) || ':' || substr(encode(mac, 'hex'), 9, 2) || ':' || substr(encode(mac, 'hex'), 11, 2)) STORED
);

CREATE INDEX nodes_by_farmer ON nodes (farmer, mac);
CREATE INDEX nodes_by_runmode ON nodes (runmode, mac);

CREATE TABLE events (
    id       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       BIGINT NOT NULL,
    mac      BYTEA NOT NULL CHECK (length(mac) IN (0, 6)), -- empty: not known
    peer     TEXT NOT NULL,
    stage    TEXT NOT NULL,
    detail   TEXT NOT NULL,
    bytes    BIGINT NOT NULL,
    size     BIGINT NOT NULL,
    duration BIGINT NOT NULL -- nanoseconds
);

CREATE INDEX events_by_mac ON events (mac, id);

CREATE TABLE seen (
    mac        BYTEA PRIMARY KEY CHECK (length(mac) = 6),
    arch       TEXT NOT NULL,
    firmware   TEXT NOT NULL,
    uuid       TEXT NOT NULL,
    first_seen BIGINT NOT NULL,
    last_seen  BIGINT NOT NULL,
    boots      BIGINT NOT NULL,
    code       TEXT NOT NULL UNIQUE -- claim code
);

CREATE INDEX seen_by_time ON seen (last_seen DESC, mac);

CREATE TABLE tokens (
    id        TEXT PRIMARY KEY,
    role      TEXT NOT NULL CHECK (role IN ('admin', 'farmer')),
    farmer    BIGINT REFERENCES farmers (id) ON DELETE CASCADE, -- NULL: none
    created   BIGINT NOT NULL,
    last_used BIGINT NOT NULL, -- 0: never
    hash      BYTEA NOT NULL CHECK (length(hash) = 32)
);

CREATE TABLE sessions (
    hash      BYTEA PRIMARY KEY CHECK (length(hash) = 32), -- SHA-256 of the cookie
    token     TEXT REFERENCES tokens (id) ON DELETE CASCADE, -- NULL: it began with a sign-in link
    who       TEXT NOT NULL,
    began     BIGINT NOT NULL,
    last_used BIGINT NOT NULL
);

CREATE TABLE changes (
    id      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      BIGINT NOT NULL,
    actor   TEXT NOT NULL,
    origin  TEXT NOT NULL,
    action  TEXT NOT NULL,
    subject TEXT NOT NULL,
    before  TEXT NOT NULL, -- JSON; empty: nothing
    after   TEXT NOT NULL
);

CREATE INDEX changes_by_subject ON changes (subject, id);
