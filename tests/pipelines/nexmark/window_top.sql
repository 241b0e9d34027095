-- The three auctions with the most bids of each minute, the lower number first where they have as many.

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

CREATE TABLE window_top (
  window_start TIMESTAMP(3),
  auction      BIGINT,
  bids         BIGINT,
  rank_number  BIGINT
) WITH ('topic' = 'nexmark-window_top', 'format' = 'json');

INSERT INTO window_top
SELECT window_start, auction, bids, rank_number
FROM (
  SELECT
    *,
    ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY bids DESC, auction ASC) AS rank_number
  FROM (
    SELECT window_start, window_end, auction, COUNT(*) AS bids
    FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(date_time), INTERVAL '1' MINUTE))
    GROUP BY window_start, window_end, auction
  ) AS counted
) AS ranked
WHERE rank_number <= 3;
