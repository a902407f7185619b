CREATE TABLE job (
  id       TEXT NOT NULL PRIMARY KEY,
  tenant   TEXT NOT NULL,
  kind     TEXT NOT NULL,
  name     TEXT NOT NULL,
  priority BIGINT NOT NULL,           -- 1 is the most urgent
  idem     TEXT NOT NULL,              -- the key of job_key; '': none
  spec     BYTEA,
  state    TEXT NOT NULL,              -- batch.State
  asked    TEXT NOT NULL,              -- while it is cancelling: batch.Order
  stage    BIGINT NOT NULL,           -- batch.Stage, of the pieces that may run
  reason   TEXT NOT NULL,
  created  BIGINT NOT NULL,           -- this and all other times: Unix microseconds; 0: never
  started  BIGINT NOT NULL,
  ended    BIGINT NOT NULL,
  expires  BIGINT NOT NULL,
  keep     BIGINT NOT NULL,           -- microseconds after the end; 0: for ever
  remove   BIGINT NOT NULL,
  result   BYTEA
);
CREATE INDEX job_created ON job (created);
CREATE INDEX job_open ON job (state) WHERE state IN ('queued', 'running', 'paused', 'cancelling');
CREATE INDEX job_remove ON job (remove) WHERE remove > 0;

CREATE TABLE piece (
  job       TEXT NOT NULL REFERENCES job (id),
  number    BIGINT NOT NULL,
  stage     BIGINT NOT NULL,
  spec      BYTEA,
  weight    DOUBLE PRECISION NOT NULL,             -- 0: not known
  state     TEXT NOT NULL,             -- waiting, running, done, void
  worker    TEXT NOT NULL,
  fence     BIGINT NOT NULL,          -- of the last lease
  until     BIGINT NOT NULL,          -- when that lease ends
  after     BIGINT NOT NULL,          -- when it may be taken again
  attempts  BIGINT NOT NULL,
  failures  BIGINT NOT NULL,          -- in a row, without a row more
  base      BIGINT NOT NULL,          -- row_count at the beginning of the last lease
  row_count BIGINT NOT NULL,
  bad       BIGINT NOT NULL,
  done      DOUBLE PRECISION NOT NULL,             -- 0 to 1; -1: not known
  rate      DOUBLE PRECISION NOT NULL,             -- rows a second
  output    BYTEA,
  PRIMARY KEY (job, number)
);
CREATE INDEX piece_open ON piece (state) WHERE state IN ('waiting', 'running');

-- Outlives its job, so that nothing is submitted twice.
CREATE TABLE job_key (
  tenant  TEXT NOT NULL,
  idem    TEXT NOT NULL,
  job     TEXT NOT NULL,
  spec    BYTEA,
  created BIGINT NOT NULL,
  PRIMARY KEY (tenant, idem)
);

CREATE TABLE job_line (
  seq    BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  job    TEXT NOT NULL,
  at     BIGINT NOT NULL,
  worker TEXT NOT NULL,
  line   TEXT NOT NULL
);
CREATE INDEX job_line_job ON job_line (job, seq);
