-- The times in which an aircraft is in use: a session ends when it has not left New York for more than six hours.

CREATE TABLE flights (
  tailnum   STRING,
  distance  BIGINT,
  time_hour TIMESTAMP(3),
  WATERMARK FOR time_hour AS time_hour - INTERVAL '1' DAY
) WITH ('topic' = 'flights', 'format' = 'json');

CREATE TABLE aircraft_sessions (
  tailnum    STRING,
  start_time TIMESTAMP(3),
  end_time   TIMESTAMP(3),
  flights    BIGINT,
  distance   BIGINT
) WITH ('topic' = 'aircraft-sessions', 'format' = 'json');

INSERT INTO aircraft_sessions
SELECT tailnum, window_start, window_end, COUNT(*), SUM(distance)
FROM TABLE(SESSION(TABLE flights PARTITION BY tailnum, DESCRIPTOR(time_hour), INTERVAL '6' HOUR))
WHERE tailnum IS NOT NULL
GROUP BY tailnum, window_start, window_end;
