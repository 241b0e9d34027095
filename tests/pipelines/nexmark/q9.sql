-- The winning bid of each auction: the highest while it is open, the earlier of equal ones.

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

CREATE TABLE q9 (
  id            BIGINT,
  item_name     STRING,
  description   STRING,
  initial_bid   BIGINT,
  reserve       BIGINT,
  date_time     TIMESTAMP(3),
  expires       TIMESTAMP(3),
  seller        BIGINT,
  category      BIGINT,
  extra         STRING,
  auction       BIGINT,
  bidder        BIGINT,
  price         BIGINT,
  bid_date_time TIMESTAMP(3),
  bid_extra     STRING,
  PRIMARY KEY (id) NOT ENFORCED
) WITH ('topic' = 'nexmark-q9', 'format' = 'json', 'output' = 'upsert');

INSERT INTO q9
SELECT
  id, item_name, description, initial_bid, reserve, date_time, expires, seller, category, extra,
  auction, bidder, price, bid_date_time, bid_extra
FROM (
  SELECT
    a.*, b.auction, b.bidder, b.price, b.date_time AS bid_date_time, b.extra AS bid_extra,
    ROW_NUMBER() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.date_time ASC) AS rank_number
  FROM auction AS a, bid AS b
  WHERE a.id = b.auction AND b.date_time BETWEEN a.date_time AND a.expires
) AS ranked
WHERE rank_number <= 1
UNBOUNDED;
