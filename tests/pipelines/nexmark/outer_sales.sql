-- Everybody who comes, with what they sell: people who sell nothing stand there with nothing, until they do.

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

CREATE TABLE outer_sales (
  id       BIGINT,
  name     STRING,
  auction  BIGINT,
  category BIGINT
) WITH ('topic' = 'nexmark-outer_sales', 'format' = 'json', 'output' = 'retract');

INSERT INTO outer_sales
SELECT p.id, p.name, a.id AS auction, a.category
FROM person AS p
LEFT JOIN auction AS a ON p.id = a.seller AND a.category <> 12
UNBOUNDED;
