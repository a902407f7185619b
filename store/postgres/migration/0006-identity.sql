-- One row: a word that is this store's alone.
CREATE TABLE identity (id TEXT NOT NULL);
INSERT INTO identity (id) VALUES (substr(md5(random()::text || clock_timestamp()::text || current_database() || pg_backend_pid()::text), 1, 16));
