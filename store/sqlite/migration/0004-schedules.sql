CREATE TABLE schedule (
  id       TEXT NOT NULL PRIMARY KEY,
  tenant   TEXT NOT NULL,
  name     TEXT NOT NULL,
  origin   TEXT NOT NULL,              -- 'config', or '': a client
  plan     BLOB NOT NULL,              -- batch.SchedulePlan, JSON
  created  INTEGER NOT NULL,           -- this and all other times: Unix microseconds; 0: never
  due      INTEGER NOT NULL,
  last     INTEGER NOT NULL,
  last_job TEXT NOT NULL,
  reason   TEXT NOT NULL,              -- why it could not do what it should, the last time
  UNIQUE (tenant, name)
) WITHOUT ROWID;
