-- How often each bidder bids in a session, which ends after ten seconds without a bid.

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

CREATE TABLE q11 (
  bidder     BIGINT,
  bid_count  BIGINT,
  start_time TIMESTAMP(3),
  end_time   TIMESTAMP(3)
) WITH ('topic' = 'nexmark-q11', 'format' = 'json');

INSERT INTO q11
SELECT bidder, COUNT(*) AS bid_count, window_start, window_end
FROM TABLE(SESSION(TABLE bid PARTITION BY bidder, DESCRIPTOR(date_time), INTERVAL '10' SECOND))
GROUP BY bidder, window_start, window_end;
