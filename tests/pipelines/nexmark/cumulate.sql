-- Bids and the highest of each large channel, every ten minutes of each hour so far.

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

CREATE TABLE cumulate (
  window_start TIMESTAMP(3),
  window_end   TIMESTAMP(3),
  channel      STRING,
  bids         BIGINT,
  highest      BIGINT
) WITH ('topic' = 'nexmark-cumulate', 'format' = 'json');

INSERT INTO cumulate
SELECT window_start, window_end, channel, COUNT(*), MAX(price)
FROM TABLE(CUMULATE(TABLE bid, DESCRIPTOR(date_time), INTERVAL '10' MINUTE, INTERVAL '1' HOUR))
WHERE channel NOT LIKE 'channel-%'
GROUP BY window_start, window_end, channel;
