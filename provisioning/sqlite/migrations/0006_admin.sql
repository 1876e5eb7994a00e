-- What an admin of many nodes needs: another boot for once, or none for good; tokens with
-- names and an end; what machines are; changes that were made together.
ALTER TABLE nodes ADD COLUMN boot_exit INTEGER NOT NULL DEFAULT 0; -- 1: it goes on to its next boot device
ALTER TABLE nodes ADD COLUMN once TEXT NOT NULL DEFAULT ''; -- for its next boot alone: a kernel, or exit

ALTER TABLE tokens ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE tokens ADD COLUMN expires INTEGER NOT NULL DEFAULT 0; -- 0: never
ALTER TABLE tokens ADD COLUMN read_only INTEGER NOT NULL DEFAULT 0; -- 1: it changes nothing

ALTER TABLE seen ADD COLUMN serial TEXT NOT NULL DEFAULT '';
ALTER TABLE seen ADD COLUMN manufacturer TEXT NOT NULL DEFAULT '';
ALTER TABLE seen ADD COLUMN product TEXT NOT NULL DEFAULT '';
ALTER TABLE seen ADD COLUMN address TEXT NOT NULL DEFAULT ''; -- its last IP address

ALTER TABLE changes ADD COLUMN batch TEXT NOT NULL DEFAULT ''; -- the same for those made together
CREATE INDEX changes_by_batch ON changes (batch, id);
