-- Every bid with a value from a table that is a compacted topic, as the table is when the bid is processed.

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

CREATE TABLE side_input (
  `key`   BIGINT,
  `value` STRING,
  PRIMARY KEY (`key`) NOT ENFORCED
) WITH ('topic' = 'nexmark-side-input', 'format' = 'json');

CREATE TABLE q13 (
  auction   BIGINT,
  bidder    BIGINT,
  price     BIGINT,
  date_time TIMESTAMP(3),
  `value`   STRING
) WITH ('topic' = 'nexmark-q13', 'format' = 'json');

INSERT INTO q13
SELECT b.auction, b.bidder, b.price, b.date_time, s.`value`
FROM (SELECT *, PROCTIME() AS p_time FROM bid) AS b
JOIN side_input FOR SYSTEM_TIME AS OF b.p_time AS s
ON MOD(b.auction, 10000) = s.`key`;
