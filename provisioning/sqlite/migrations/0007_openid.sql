-- Sessions of people whom an OpenID provider vouches for: there is no token to say what
-- they may do.
ALTER TABLE sessions ADD COLUMN role TEXT NOT NULL DEFAULT ''; -- empty: that of the token, or an admin by a sign-in link
ALTER TABLE sessions ADD COLUMN farmer INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN read_only INTEGER NOT NULL DEFAULT 0; -- 1: it changes nothing
