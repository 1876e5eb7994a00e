-- Who may use the API, who is signed in to the pages, and who changed what.
CREATE TABLE tokens (
    id        TEXT PRIMARY KEY,
    role      TEXT NOT NULL CHECK (role IN ('admin', 'farmer')),
    farmer    INTEGER REFERENCES farmers (id) ON DELETE CASCADE, -- NULL: none
    created   INTEGER NOT NULL,
    last_used INTEGER NOT NULL, -- 0: never
    hash      BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;

CREATE TABLE sessions (
    hash      BLOB PRIMARY KEY CHECK (length(hash) = 32), -- SHA-256 of the cookie
    token     TEXT REFERENCES tokens (id) ON DELETE CASCADE, -- NULL: it began with a sign-in link
    who       TEXT NOT NULL,
    began     INTEGER NOT NULL,
    last_used INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE changes (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    actor   TEXT NOT NULL,
    origin  TEXT NOT NULL,
    action  TEXT NOT NULL,
    subject TEXT NOT NULL,
    before  TEXT NOT NULL, -- JSON; empty: nothing
    after   TEXT NOT NULL
) STRICT;

CREATE INDEX changes_by_subject ON changes (subject, id);
