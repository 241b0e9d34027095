SELECT
  time_bucket(INTERVAL 1 HOUR, time_hour) AS window_start, carrier, count(*) AS flights, count(dep_time) AS departed,
  sum(dep_delay) AS dep_delay_sum, max(dep_delay) AS dep_delay_max
FROM flights
GROUP BY ALL;
