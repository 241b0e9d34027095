SELECT
  auction, date_time, price,
  count(*) OVER so_far AS bids,
  sum(price) OVER so_far AS total,
  avg(price) OVER lately AS average,
  max(price) OVER lately AS highest
FROM bid
WINDOW
  so_far AS (PARTITION BY auction ORDER BY date_time ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW),
  lately AS (PARTITION BY auction ORDER BY date_time RANGE BETWEEN INTERVAL 5 MINUTE PRECEDING AND CURRENT ROW);
