-- How often each bidder bids in ten seconds of processing time.

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

CREATE VIEW timed AS SELECT *, PROCTIME() AS p_time FROM bid;

CREATE TABLE q12 (
  bidder     BIGINT,
  bid_count  BIGINT,
  start_time TIMESTAMP(3),
  end_time   TIMESTAMP(3)
) WITH ('topic' = 'nexmark-q12', 'format' = 'json');

INSERT INTO q12
SELECT bidder, COUNT(*) AS bid_count, window_start, window_end
FROM TABLE(TUMBLE(TABLE timed, DESCRIPTOR(p_time), INTERVAL '10' SECOND))
GROUP BY bidder, window_start, window_end;
