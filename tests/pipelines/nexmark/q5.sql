-- The auctions with the most bids in the last ten seconds, every two seconds; all of them where several have the most.

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

CREATE TABLE q5 (
  auction BIGINT,
  num     BIGINT
) WITH ('topic' = 'nexmark-q5', 'format' = 'json');

INSERT INTO q5
SELECT counted.auction, counted.num
FROM (
  SELECT auction, COUNT(*) AS num, window_start, window_end
  FROM TABLE(HOP(TABLE bid, DESCRIPTOR(date_time), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
  GROUP BY auction, window_start, window_end
) AS counted
JOIN (
  SELECT MAX(numbers.num) AS most, numbers.window_start, numbers.window_end
  FROM (
    SELECT COUNT(*) AS num, window_start, window_end
    FROM TABLE(HOP(TABLE bid, DESCRIPTOR(date_time), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
    GROUP BY auction, window_start, window_end
  ) AS numbers
  GROUP BY numbers.window_start, numbers.window_end
) AS highest
ON counted.window_start = highest.window_start
  AND counted.window_end = highest.window_end
  AND counted.num >= highest.most;
