CREATE TABLE response (
  tenant  TEXT NOT NULL,
  id      TEXT NOT NULL,
  created BIGINT NOT NULL,             -- Unix seconds
  open    BOOLEAN NOT NULL,            -- while it is to be answered in the background
  body    BYTEA NOT NULL,              -- the response as clients see it
  request BYTEA NOT NULL,              -- what it answers
  PRIMARY KEY (tenant, id)
);
CREATE INDEX response_created ON response (created);
CREATE INDEX response_open ON response (open) WHERE open;
