-- What an event tells, in values instead of words. The words of former versions become
-- the values that they were made of.
ALTER TABLE events ADD COLUMN ipxe INTEGER NOT NULL DEFAULT 0;
ALTER TABLE events ADD COLUMN file TEXT NOT NULL DEFAULT '';
ALTER TABLE events ADD COLUMN via TEXT NOT NULL DEFAULT '';
ALTER TABLE events ADD COLUMN version TEXT NOT NULL DEFAULT '';
ALTER TABLE events ADD COLUMN sha256 TEXT NOT NULL DEFAULT '';
ALTER TABLE events ADD COLUMN cause TEXT NOT NULL DEFAULT ''; -- JSON; empty: none
ALTER TABLE events ADD COLUMN held INTEGER NOT NULL DEFAULT 0;

UPDATE events SET ipxe = 1 WHERE stage = 'discover' AND instr(detail, 'iPXE') > 0;
UPDATE events SET via = CASE WHEN detail LIKE '% by TFTP' THEN 'TFTP' ELSE 'HTTP' END,
    file = replace(replace(detail, ' by TFTP', ''), ' by HTTP', ''), detail = ''
    WHERE stage = 'nbp' AND (detail LIKE '% by TFTP' OR detail LIKE '% by HTTP');
UPDATE events SET file = detail, detail = '' WHERE stage IN ('offer', 'bootserver', 'loading', 'kernel');
UPDATE events SET cause = '{"id":"ignored"}' WHERE stage = 'refused' AND detail LIKE 'not registered, and unknown%';
