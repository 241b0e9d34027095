WITH counted AS (
  SELECT time_bucket(INTERVAL 1 DAY, time_hour) AS day_start, origin, dest, count(*) AS flights
  FROM flights
  GROUP BY ALL
)
SELECT *, row_number() OVER (PARTITION BY day_start, origin ORDER BY flights DESC, dest) AS rank_number
FROM counted
QUALIFY rank_number <= 3;
