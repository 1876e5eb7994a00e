-- A line of the history that takes another one back says which.
ALTER TABLE changes ADD COLUMN undoes INTEGER NOT NULL DEFAULT 0; -- the id of that; 0: none
