-- How many bidders have bid so often: rows come and go with each bid.

CREATE TABLE bid (
  auction   BIGINT,
  bidder    BIGINT,
  price     BIGINT,
  channel   STRING,
  url       STRING,
  date_time TIMESTAMP(3),
  extra     STRING,
  WATERMARK FOR date_time AS date_time - INTERVAL '4' SECOND
) WITH ('topic' = 'nexmark-bid', 'format' = 'json');

CREATE TABLE histogram (
  bids    BIGINT,
  bidders BIGINT,
  PRIMARY KEY (bids) NOT ENFORCED
) WITH ('topic' = 'nexmark-histogram', 'format' = 'json', 'output' = 'upsert');

INSERT INTO histogram
SELECT bids, COUNT(*) AS bidders
FROM (SELECT bidder, COUNT(*) AS bids FROM bid GROUP BY bidder) AS counted
GROUP BY bids
UNBOUNDED;
