WITH highest AS (
  SELECT time_bucket(INTERVAL 10 SECOND, date_time) AS window_start, max(price) AS price FROM bid GROUP BY ALL
)
SELECT b.auction, b.bidder, b.price, b.date_time, b.extra
FROM highest h JOIN bid b
  ON b.price = h.price AND b.date_time BETWEEN h.window_start AND h.window_start + INTERVAL 10 SECOND;
