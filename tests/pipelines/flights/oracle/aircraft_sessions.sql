-- Two flights exactly six hours apart are of one session, as in Flink: their windows touch.
WITH marked AS (
  SELECT
    tailnum, time_hour, distance, "row",
    time_hour - lag(time_hour) OVER (PARTITION BY tailnum ORDER BY time_hour, "row") > INTERVAL 6 HOUR AS first
  FROM flights
  WHERE tailnum IS NOT NULL
), numbered AS (
  SELECT *, count(*) FILTER (WHERE first) OVER (PARTITION BY tailnum ORDER BY time_hour, "row") AS session
  FROM marked
)
SELECT
  tailnum, min(time_hour) AS start_time, max(time_hour) + INTERVAL 6 HOUR AS end_time, count(*) AS flights,
  sum(distance) AS distance
FROM numbered
GROUP BY tailnum, session;
