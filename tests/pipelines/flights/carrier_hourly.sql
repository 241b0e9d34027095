-- Hourly flights and departure delays of each carrier. Nothing is late within a day.

CREATE TABLE flights (
  carrier   STRING,
  dep_time  BIGINT,
  dep_delay BIGINT,
  time_hour TIMESTAMP(3),
  WATERMARK FOR time_hour AS time_hour - INTERVAL '1' DAY
) WITH ('topic' = 'flights', 'format' = 'json');

CREATE TABLE carrier_hourly (
  window_start  TIMESTAMP(3),
  carrier       STRING,
  flights       BIGINT,
  departed      BIGINT,
  dep_delay_sum BIGINT,
  dep_delay_max BIGINT
) WITH ('topic' = 'carrier-hourly', 'format' = 'json');

INSERT INTO carrier_hourly
SELECT window_start, carrier, COUNT(*), COUNT(dep_time), SUM(dep_delay), MAX(dep_delay)
FROM TABLE(TUMBLE(TABLE flights, DESCRIPTOR(time_hour), INTERVAL '1' HOUR))
GROUP BY window_start, window_end, carrier;
