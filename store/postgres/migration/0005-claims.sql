-- Which process answers an open response, and until when it is no other's (Unix microseconds).
ALTER TABLE response ADD COLUMN worker TEXT NOT NULL DEFAULT '';
ALTER TABLE response ADD COLUMN until BIGINT NOT NULL DEFAULT 0;
