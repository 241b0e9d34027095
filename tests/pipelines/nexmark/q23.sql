-- Every bid with its bidder and every auction that the bidder sells.

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

CREATE TABLE person (
  id            BIGINT,
  name          STRING,
  email_address STRING,
  credit_card   STRING,
  city          STRING,
  state         STRING,
  date_time     TIMESTAMP(3),
  extra         STRING,
  WATERMARK FOR date_time AS date_time - INTERVAL '4' SECOND
) WITH ('topic' = 'nexmark-person', 'format' = 'json');

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

CREATE TABLE q23 (
  bidder            BIGINT,
  price             BIGINT,
  channel           STRING,
  url               STRING,
  bid_extra         STRING,
  person_id         BIGINT,
  name              STRING,
  email_address     STRING,
  credit_card       STRING,
  city              STRING,
  state             STRING,
  person_extra      STRING,
  item_name         STRING,
  description       STRING,
  initial_bid       BIGINT,
  reserve           BIGINT,
  auction_date_time TIMESTAMP(3),
  expires           TIMESTAMP(3),
  seller            BIGINT,
  category          BIGINT,
  auction_extra     STRING
) WITH ('topic' = 'nexmark-q23', 'format' = 'json');

INSERT INTO q23
SELECT
  bidder, price, channel, url, b.extra AS bid_extra,
  p.id AS person_id, name, email_address, credit_card, city, state, p.extra AS person_extra,
  item_name, description, initial_bid, reserve, a.date_time AS auction_date_time, expires, seller, category,
  a.extra AS auction_extra
FROM bid AS b
JOIN person AS p ON p.id = b.bidder
JOIN auction AS a ON a.seller = b.bidder
UNBOUNDED;
