-- Each bid with what its auction had so far: the sum of all bids, and the average of the last five minutes.

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

CREATE TABLE running (
  auction   BIGINT,
  date_time TIMESTAMP(3),
  price     BIGINT,
  bids      BIGINT,
  total     BIGINT,
  average   DOUBLE,
  highest   BIGINT
) WITH ('topic' = 'nexmark-running', 'format' = 'json');

INSERT INTO running
SELECT
  auction,
  date_time,
  price,
  COUNT(*) OVER (PARTITION BY auction ORDER BY date_time ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS bids,
  SUM(price) OVER (PARTITION BY auction ORDER BY date_time ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS total,
  AVG(price) OVER (
    PARTITION BY auction ORDER BY date_time RANGE BETWEEN INTERVAL '5' MINUTE PRECEDING AND CURRENT ROW
  ) AS average,
  MAX(price) OVER (
    PARTITION BY auction ORDER BY date_time RANGE BETWEEN INTERVAL '5' MINUTE PRECEDING AND CURRENT ROW
  ) AS highest
FROM bid
UNBOUNDED;
