CREATE TABLE file (
  id      TEXT NOT NULL PRIMARY KEY,
  tenant  TEXT NOT NULL,
  purpose TEXT NOT NULL,
  name    TEXT NOT NULL,
  size    INTEGER NOT NULL,            -- bytes
  created INTEGER NOT NULL,            -- this and all other times: Unix microseconds
  expires INTEGER NOT NULL             -- 0: never
) WITHOUT ROWID;
CREATE INDEX file_created ON file (tenant, created, id);
CREATE INDEX file_expires ON file (expires) WHERE expires > 0;

CREATE TABLE request_batch (
  id       TEXT NOT NULL PRIMARY KEY,  -- its job's, too
  tenant   TEXT NOT NULL,
  created  INTEGER NOT NULL,
  ended    INTEGER NOT NULL,           -- 0: it has not
  revision INTEGER NOT NULL,
  body     BLOB NOT NULL               -- protocol.Batch, JSON
) WITHOUT ROWID;
CREATE INDEX request_batch_created ON request_batch (tenant, created, id);
CREATE INDEX request_batch_open ON request_batch (ended) WHERE ended = 0;

CREATE TABLE event (
  id       TEXT NOT NULL,
  hook     TEXT NOT NULL,
  tenant   TEXT NOT NULL,
  type     TEXT NOT NULL,
  subject  TEXT NOT NULL,
  created  INTEGER NOT NULL,
  due      INTEGER NOT NULL,           -- when it may be delivered; while somebody is at it: when another one may
  attempts INTEGER NOT NULL,
  PRIMARY KEY (id, hook)
) WITHOUT ROWID;
CREATE INDEX event_due ON event (due);
