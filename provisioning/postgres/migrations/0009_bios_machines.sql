-- The same for those that are answered in the usual form, as far as they were last seen as BIOS.
UPDATE proven SET client = 'bios' WHERE client = 'pxe' AND mac IN (SELECT mac FROM seen WHERE arch = 'BIOS');
