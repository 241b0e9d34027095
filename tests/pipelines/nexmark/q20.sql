-- Every bid on an auction of category 10, with the auction.

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

CREATE TABLE auction (
  id          BIGINT,
  item_name   STRING,
  description STRING,
  initial_bid BIGINT,
  reserve     BIGINT,
  date_time   TIMESTAMP(3),
  expires     TIMESTAMP(3),
  seller      BIGINT,
  category    BIGINT,
  extra       STRING,
  WATERMARK FOR date_time AS date_time - INTERVAL '4' SECOND
) WITH ('topic' = 'nexmark-auction', 'format' = 'json');

CREATE TABLE q20 (
  auction           BIGINT,
  bidder            BIGINT,
  price             BIGINT,
  channel           STRING,
  url               STRING,
  bid_date_time     TIMESTAMP(3),
  bid_extra         STRING,
  item_name         STRING,
  description       STRING,
  initial_bid       BIGINT,
  reserve           BIGINT,
  auction_date_time TIMESTAMP(3),
  expires           TIMESTAMP(3),
  seller            BIGINT,
  category          BIGINT,
  auction_extra     STRING
) WITH ('topic' = 'nexmark-q20', 'format' = 'json');

INSERT INTO q20
SELECT
  auction, bidder, price, channel, url, b.date_time, b.extra,
  item_name, description, initial_bid, reserve, a.date_time, expires, seller, category, a.extra
FROM bid AS b
INNER JOIN auction AS a ON b.auction = a.id
WHERE a.category = 10
UNBOUNDED;
