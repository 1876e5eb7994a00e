-- A machine's BIOS is followed apart from its UEFI: only BIOS is answered in that form.
UPDATE proven SET client = 'bios' WHERE client = 'pxe' AND form = 'bootserver';
