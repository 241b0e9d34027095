-- The bids on every 123rd auction.

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

CREATE TABLE q2 (
  auction BIGINT,
  price   BIGINT
) WITH ('topic' = 'nexmark-q2', 'format' = 'json');

INSERT INTO q2
SELECT auction, price FROM bid WHERE MOD(auction, 123) = 0;
