CREATE TABLE file (
  id      TEXT NOT NULL PRIMARY KEY,
  tenant  TEXT NOT NULL,
  purpose TEXT NOT NULL,
  name    TEXT NOT NULL,
  size    BIGINT NOT NULL,            -- bytes
  created BIGINT NOT NULL,            -- this and all other times: Unix microseconds
  expires BIGINT NOT NULL             -- 0: never
);
CREATE INDEX file_created ON file (tenant, created, id);
CREATE INDEX file_expires ON file (expires) WHERE expires > 0;

CREATE TABLE request_batch (
  id       TEXT NOT NULL PRIMARY KEY,  -- its job's, too
  tenant   TEXT NOT NULL,
  created  BIGINT NOT NULL,
  ended    BIGINT NOT NULL,           -- 0: it has not
  revision BIGINT NOT NULL,
  body     BYTEA NOT NULL               -- protocol.Batch, JSON
);
CREATE INDEX request_batch_created ON request_batch (tenant, created, id);
CREATE INDEX request_batch_open ON request_batch (ended) WHERE ended = 0;

CREATE TABLE event (
  id       TEXT NOT NULL,
  hook     TEXT NOT NULL,
  tenant   TEXT NOT NULL,
  type     TEXT NOT NULL,
  subject  TEXT NOT NULL,
  created  BIGINT NOT NULL,
  due      BIGINT NOT NULL,           -- when it may be delivered; while somebody is at it: when another one may
  attempts BIGINT NOT NULL,
  PRIMARY KEY (id, hook)
);
CREATE INDEX event_due ON event (due);
