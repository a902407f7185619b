CREATE TABLE job (
  id       TEXT NOT NULL PRIMARY KEY,
  tenant   TEXT NOT NULL,
  kind     TEXT NOT NULL,
  name     TEXT NOT NULL,
  priority INTEGER NOT NULL,           -- 1 is the most urgent
  idem     TEXT NOT NULL,              -- the key of job_key; '': none
  spec     BLOB,
  state    TEXT NOT NULL,              -- batch.State
  asked    TEXT NOT NULL,              -- while it is cancelling: batch.Order
  stage    INTEGER NOT NULL,           -- batch.Stage, of the pieces that may run
  reason   TEXT NOT NULL,
  created  INTEGER NOT NULL,           -- this and all other times: Unix microseconds; 0: never
  started  INTEGER NOT NULL,
  ended    INTEGER NOT NULL,
  expires  INTEGER NOT NULL,
  keep     INTEGER NOT NULL,           -- microseconds after the end; 0: for ever
  remove   INTEGER NOT NULL,
  result   BLOB
) WITHOUT ROWID;
CREATE INDEX job_created ON job (created);
CREATE INDEX job_open ON job (state) WHERE state IN ('queued', 'running', 'paused', 'cancelling');
CREATE INDEX job_remove ON job (remove) WHERE remove > 0;

CREATE TABLE piece (
  job       TEXT NOT NULL REFERENCES job (id),
  number    INTEGER NOT NULL,
  stage     INTEGER NOT NULL,
  spec      BLOB,
  weight    REAL NOT NULL,             -- 0: not known
  state     TEXT NOT NULL,             -- waiting, running, done, void
  worker    TEXT NOT NULL,
  fence     INTEGER NOT NULL,          -- of the last lease
  until     INTEGER NOT NULL,          -- when that lease ends
  after     INTEGER NOT NULL,          -- when it may be taken again
  attempts  INTEGER NOT NULL,
  failures  INTEGER NOT NULL,          -- in a row, without a row more
  base      INTEGER NOT NULL,          -- row_count at the beginning of the last lease
  row_count INTEGER NOT NULL,
  bad       INTEGER NOT NULL,
  done      REAL NOT NULL,             -- 0 to 1; -1: not known
  rate      REAL NOT NULL,             -- rows a second
  output    BLOB,
  PRIMARY KEY (job, number)
) WITHOUT ROWID;
CREATE INDEX piece_open ON piece (state) WHERE state IN ('waiting', 'running');

-- Outlives its job, so that nothing is submitted twice.
CREATE TABLE job_key (
  tenant  TEXT NOT NULL,
  idem    TEXT NOT NULL,
  job     TEXT NOT NULL,
  spec    BLOB,
  created INTEGER NOT NULL,
  PRIMARY KEY (tenant, idem)
) WITHOUT ROWID;

CREATE TABLE job_line (
  seq    INTEGER PRIMARY KEY AUTOINCREMENT,
  job    TEXT NOT NULL,
  at     INTEGER NOT NULL,
  worker TEXT NOT NULL,
  line   TEXT NOT NULL
);
CREATE INDEX job_line_job ON job_line (job, seq);
