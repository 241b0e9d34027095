-- The first bid of each bidder.

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

CREATE TABLE first_bids (
  bidder    BIGINT,
  auction   BIGINT,
  price     BIGINT,
  date_time TIMESTAMP(3),
  PRIMARY KEY (bidder) NOT ENFORCED
) WITH ('topic' = 'nexmark-first_bids', 'format' = 'json', 'output' = 'upsert');

INSERT INTO first_bids
SELECT bidder, auction, price, date_time
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY bidder ORDER BY date_time ASC) AS rank_number FROM bid
) AS ranked
WHERE rank_number = 1
UNBOUNDED;
