-- Every bid with its price in euros.

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

CREATE TABLE q1 (
  auction   BIGINT,
  bidder    BIGINT,
  price     DECIMAL(23, 3),
  date_time TIMESTAMP(3),
  extra     STRING
) WITH ('topic' = 'nexmark-q1', 'format' = 'json');

INSERT INTO q1
SELECT auction, bidder, 0.908 * price AS price, date_time, extra FROM bid;
