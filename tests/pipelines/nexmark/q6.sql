-- The average price of a seller's last eleven sold auctions, at each of them, in the order of their winning bids. The
-- winning bid of an auction changes while bids come, so the window's input takes rows back.

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

CREATE TABLE q6 (
  seller    BIGINT,
  avg_price DOUBLE
) WITH ('topic' = 'nexmark-q6', 'format' = 'json', 'output' = 'retract');

INSERT INTO q6
SELECT
  w.seller,
  AVG(w.price) OVER (
    PARTITION BY w.seller ORDER BY w.date_time ROWS BETWEEN 10 PRECEDING AND CURRENT ROW
  ) AS avg_price
FROM (
  SELECT seller, price, date_time
  FROM (
    SELECT
      a.seller, b.price, b.date_time,
      ROW_NUMBER() OVER (PARTITION BY a.id, a.seller ORDER BY b.price DESC, b.date_time ASC) AS rank_number
    FROM auction AS a, bid AS b
    WHERE a.id = b.auction AND b.date_time BETWEEN a.date_time AND a.expires
  ) AS ranked
  WHERE rank_number <= 1
) AS w
UNBOUNDED;
