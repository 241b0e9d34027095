-- Each auction's bids in the last minute, every 25 seconds: a slide that the length is no multiple of.

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

CREATE TABLE hop (
  window_start TIMESTAMP(3),
  window_end   TIMESTAMP(3),
  auction      BIGINT,
  bids         BIGINT,
  lowest       BIGINT,
  average      DOUBLE,
  bidders      BIGINT
) WITH ('topic' = 'nexmark-hop', 'format' = 'json');

INSERT INTO hop
SELECT window_start, window_end, auction, COUNT(*), MIN(price), AVG(price), COUNT(DISTINCT bidder)
FROM TABLE(HOP(TABLE bid, DESCRIPTOR(date_time), INTERVAL '25' SECOND, INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, auction
HAVING COUNT(*) > 1;
