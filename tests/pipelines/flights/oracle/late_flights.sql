-- A flight is late once the watermark, the newest hour of the flights before it less one, has reached its window's end.
WITH seen AS (
  SELECT *, max(time_hour) OVER (ORDER BY "row" ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS newest FROM flights
)
SELECT time_hour AS window_start, carrier, count(*) AS flights, sum(dep_delay) AS dep_delay_sum
FROM seen
WHERE newest IS NULL OR time_hour + INTERVAL 1 HOUR > newest - INTERVAL 1 HOUR
GROUP BY ALL;
