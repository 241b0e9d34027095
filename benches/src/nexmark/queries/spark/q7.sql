SELECT auction, bidder, b.price, date_time, extra, b.window.end AS window_end
FROM (
  -- Of a stream Spark wants one column of event time, which is the window here: the time becomes an ordinary one.
  SELECT auction, bidder, price, TIMESTAMP_MILLIS(UNIX_MILLIS(date_time)) AS date_time, extra,
    WINDOW(date_time, '10 seconds') AS window
  FROM bid
) AS b
JOIN (
  SELECT MAX(price) AS price, window
  FROM bid
  GROUP BY WINDOW(date_time, '10 seconds')
) AS highest
ON b.window = highest.window AND b.price = highest.price
