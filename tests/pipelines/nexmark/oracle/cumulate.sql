SELECT
  time_bucket(INTERVAL 1 HOUR, date_time) AS window_start,
  time_bucket(INTERVAL 1 HOUR, date_time) + step * INTERVAL 10 MINUTE AS window_end,
  channel, count(*) AS bids, max(price) AS highest
FROM bid, range(1, 7) AS steps(step)
WHERE channel NOT LIKE 'channel-%' AND date_time < time_bucket(INTERVAL 1 HOUR, date_time) + step * INTERVAL 10 MINUTE
GROUP BY ALL;
