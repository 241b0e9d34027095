-- The flights and the weather as DuckDB's tables. `$data` is the folder of the topics' files, one JSON object a line.

CREATE TABLE flights AS
SELECT * REPLACE (strptime(time_hour, '%Y-%m-%dT%H:%M:%SZ') AS time_hour)
FROM read_json('$data/flights.jsonl', format = 'newline_delimited', columns = {
  "row": 'BIGINT', year: 'BIGINT', month: 'BIGINT', day: 'BIGINT', dep_time: 'BIGINT', sched_dep_time: 'BIGINT',
  dep_delay: 'BIGINT', arr_time: 'BIGINT', sched_arr_time: 'BIGINT', arr_delay: 'BIGINT', carrier: 'VARCHAR',
  flight: 'BIGINT', tailnum: 'VARCHAR', origin: 'VARCHAR', dest: 'VARCHAR', air_time: 'BIGINT', distance: 'BIGINT',
  time_hour: 'VARCHAR'
});

CREATE TABLE weather AS
SELECT * REPLACE (strptime(time_hour, '%Y-%m-%dT%H:%M:%SZ') AS time_hour)
FROM read_json('$data/weather.jsonl', format = 'newline_delimited', columns = {
  origin: 'VARCHAR', temp: 'DOUBLE', wind_speed: 'DOUBLE', visib: 'DOUBLE', time_hour: 'VARCHAR'
});
