-- Hourly flights of each carrier with a watermark of one hour: what comes later goes to a topic of its own.
-- partitions: 1

CREATE TABLE flights (
  carrier   STRING,
  dep_delay BIGINT,
  time_hour TIMESTAMP(3),
  WATERMARK FOR time_hour AS time_hour - INTERVAL '1' HOUR
) WITH ('topic' = 'flights', 'format' = 'json', 'late-topic' = 'flights-late');

CREATE TABLE punctual (
  window_start  TIMESTAMP(3),
  carrier       STRING,
  flights       BIGINT,
  dep_delay_sum BIGINT
) WITH ('topic' = 'punctual', 'format' = 'json');

INSERT INTO punctual
SELECT window_start, carrier, COUNT(*), SUM(dep_delay)
FROM TABLE(TUMBLE(TABLE flights, DESCRIPTOR(time_hour), INTERVAL '1' HOUR))
GROUP BY window_start, window_end, carrier;
