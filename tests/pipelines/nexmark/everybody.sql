-- Who sells or bids, of three topics; those who come are told of in a topic of their own.

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

CREATE TABLE everybody (
  id        BIGINT,
  kind      STRING,
  date_time TIMESTAMP(3)
) WITH ('topic' = 'nexmark-everybody', 'format' = 'json');

CREATE TABLE newcomers (
  id   BIGINT,
  city STRING
) WITH ('topic' = 'nexmark-newcomers', 'format' = 'json');

INSERT INTO everybody
SELECT id, 'person', date_time FROM person
UNION ALL
SELECT seller, 'seller', date_time FROM auction
UNION ALL
SELECT bidder, 'bidder', date_time FROM bid WHERE price > 1000000;

INSERT INTO newcomers
SELECT id, UPPER(city) FROM person WHERE id % 2 = 0;
