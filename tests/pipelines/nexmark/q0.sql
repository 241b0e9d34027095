-- Every bid, passed on: what decoding and encoding cost.

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

CREATE TABLE q0 (
  auction   BIGINT,
  bidder    BIGINT,
  price     BIGINT,
  date_time TIMESTAMP(3),
  extra     STRING
) WITH ('topic' = 'nexmark-q0', 'format' = 'json');

INSERT INTO q0
SELECT auction, bidder, price, date_time, extra FROM bid;
