-- Hourly flights and departure delays of each carrier, out of New York City.
--
-- One record of `flights` is one flight: its scheduled hour, its carrier, when it left and how many minutes late.
-- A cancelled flight has no departure: its `dep_time` and `dep_delay` are null.

CREATE TABLE flights (
  carrier   STRING,
  dep_time  BIGINT,        -- local time of the departure, 517 is 5:17
  dep_delay BIGINT,        -- minutes; negative is early
  time_hour TIMESTAMP(3),  -- the scheduled hour, in UTC
  -- Flights arrive in the order they left, at most a day after the newest scheduled hour seen.
  WATERMARK FOR time_hour AS time_hour - INTERVAL '1' DAY
) WITH (
  'topic' = 'flights',
  'format' = 'json'
);

CREATE TABLE carrier_hourly (
  window_start  TIMESTAMP(3),
  carrier       STRING,
  flights       BIGINT,
  departed      BIGINT,
  dep_delay_sum BIGINT,
  dep_delay_max BIGINT
) WITH (
  'topic' = 'carrier-hourly',
  'format' = 'json'
);

-- A row is written once, when its hour is complete.
INSERT INTO carrier_hourly
SELECT
  window_start,
  carrier,
  COUNT(*)        AS flights,
  COUNT(dep_time) AS departed,
  SUM(dep_delay)  AS dep_delay_sum,
  MAX(dep_delay)  AS dep_delay_max
FROM TABLE(TUMBLE(TABLE flights, DESCRIPTOR(time_hour), INTERVAL '1' HOUR))
GROUP BY window_start, window_end, carrier;
