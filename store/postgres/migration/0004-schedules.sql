CREATE TABLE schedule (
  id       TEXT NOT NULL PRIMARY KEY,
  tenant   TEXT NOT NULL,
  name     TEXT NOT NULL,
  origin   TEXT NOT NULL,              -- 'config', or '': a client
  plan     BYTEA NOT NULL,             -- batch.SchedulePlan, JSON
  created  BIGINT  NOT NULL,           -- this and all other times: Unix microseconds; 0: never
  due      BIGINT  NOT NULL,
  last     BIGINT  NOT NULL,
  last_job TEXT NOT NULL,
  reason   TEXT NOT NULL,              -- why it could not do what it should, the last time
  UNIQUE (tenant, name)
);
