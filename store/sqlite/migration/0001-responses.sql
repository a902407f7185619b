CREATE TABLE response (
  tenant  TEXT NOT NULL,
  id      TEXT NOT NULL,
  created INTEGER NOT NULL,            -- Unix seconds
  open    INTEGER NOT NULL,            -- 1 while it is to be answered in the background
  body    BLOB NOT NULL,               -- the response as clients see it
  request BLOB NOT NULL,               -- what it answers
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE INDEX response_created ON response (created);
CREATE INDEX response_open ON response (open) WHERE open = 1;
