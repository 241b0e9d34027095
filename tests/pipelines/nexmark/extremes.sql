-- The most and the fewest bids of a bidder, of each ten bidders: extremes of numbers that change.

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

CREATE TABLE extremes (
  tens    BIGINT,
  bidders BIGINT,
  most    BIGINT,
  fewest  BIGINT,
  average DOUBLE,
  kinds   BIGINT,
  PRIMARY KEY (tens) NOT ENFORCED
) WITH ('topic' = 'nexmark-extremes', 'format' = 'json', 'output' = 'changes');

INSERT INTO extremes
SELECT bidder / 10 AS tens, COUNT(*), MAX(bids), MIN(bids), AVG(bids), COUNT(DISTINCT bids)
FROM (SELECT bidder, COUNT(*) AS bids FROM bid GROUP BY bidder) AS counted
GROUP BY bidder / 10
UNBOUNDED;
