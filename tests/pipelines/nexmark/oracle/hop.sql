SELECT
  time_bucket(INTERVAL 25 SECOND, date_time, TIMESTAMP '1970-01-01') - step * INTERVAL 25 SECOND AS window_start,
  window_start + INTERVAL 60 SECOND AS window_end,
  auction, count(*) AS bids, min(price) AS lowest, avg(price) AS average, count(DISTINCT bidder) AS bidders
FROM bid, range(3) AS steps(step)
WHERE date_time < window_start + INTERVAL 60 SECOND
GROUP BY ALL
HAVING count(*) > 1;
