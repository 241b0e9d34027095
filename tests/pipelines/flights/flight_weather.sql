-- Each flight with the weather at its origin in its hour, or the last one reported before. `weather` is a table with
-- versions: each report replaces the one before it of its airport.

CREATE TABLE flights (
  `row`     BIGINT,
  carrier   STRING,
  flight    BIGINT,
  origin    STRING,
  dest      STRING,
  dep_delay BIGINT,
  time_hour TIMESTAMP(3),
  WATERMARK FOR time_hour AS time_hour - INTERVAL '1' DAY
) WITH ('topic' = 'flights', 'format' = 'json');

CREATE TABLE weather (
  origin     STRING,
  temp       DOUBLE,
  wind_speed DOUBLE,
  visib      DOUBLE,
  time_hour  TIMESTAMP(3),
  PRIMARY KEY (origin) NOT ENFORCED,
  WATERMARK FOR time_hour AS time_hour
) WITH ('topic' = 'weather', 'format' = 'json');

CREATE TABLE flight_weather (
  `row`       BIGINT,
  carrier     STRING,
  flight      BIGINT,
  origin      STRING,
  dest        STRING,
  dep_delay   BIGINT,
  time_hour   TIMESTAMP(3),
  reported_at TIMESTAMP(3),
  temp        DOUBLE,
  wind_speed  DOUBLE,
  visib       DOUBLE
) WITH ('topic' = 'flight-weather', 'format' = 'json');

INSERT INTO flight_weather
SELECT
  f.`row`, f.carrier, f.flight, f.origin, f.dest, f.dep_delay, f.time_hour,
  w.time_hour, w.temp, w.wind_speed, w.visib
FROM flights AS f
LEFT JOIN weather FOR SYSTEM_TIME AS OF f.time_hour AS w ON f.origin = w.origin;
