-- The three destinations with the most flights of each origin and day; of equal ones the first in the alphabet.

CREATE TABLE flights (
  origin    STRING,
  dest      STRING,
  time_hour TIMESTAMP(3),
  WATERMARK FOR time_hour AS time_hour - INTERVAL '1' DAY
) WITH ('topic' = 'flights', 'format' = 'json');

CREATE TABLE top_destinations (
  day_start   TIMESTAMP(3),
  origin      STRING,
  dest        STRING,
  flights     BIGINT,
  rank_number BIGINT
) WITH ('topic' = 'top-destinations', 'format' = 'json');

INSERT INTO top_destinations
SELECT window_start, origin, dest, flights, rank_number
FROM (
  SELECT
    *,
    ROW_NUMBER() OVER (
      PARTITION BY window_start, window_end, origin ORDER BY flights DESC, dest ASC
    ) AS rank_number
  FROM (
    SELECT window_start, window_end, origin, dest, COUNT(*) AS flights
    FROM TABLE(TUMBLE(TABLE flights, DESCRIPTOR(time_hour), INTERVAL '1' DAY))
    GROUP BY window_start, window_end, origin, dest
  ) AS counted
) AS ranked
WHERE rank_number <= 3;
