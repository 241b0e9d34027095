WITH counted AS (
  SELECT auction, time_bucket(INTERVAL 2 SECOND, date_time) - step * INTERVAL 2 SECOND AS window_start, count(*) AS num
  FROM bid, range(5) AS steps(step)
  GROUP BY ALL
)
SELECT auction, num FROM counted QUALIFY rank() OVER (PARTITION BY window_start ORDER BY num DESC) = 1;
