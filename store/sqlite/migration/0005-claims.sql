-- As in PostgreSQL, where several processes share the table; here they say nothing.
ALTER TABLE response ADD COLUMN worker TEXT NOT NULL DEFAULT '';
ALTER TABLE response ADD COLUMN until INTEGER NOT NULL DEFAULT 0;
