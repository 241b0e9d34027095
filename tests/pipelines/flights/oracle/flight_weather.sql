SELECT
  f."row", f.carrier, f.flight, f.origin, f.dest, f.dep_delay, f.time_hour,
  w.time_hour AS reported_at, w.temp, w.wind_speed, w.visib
FROM flights f ASOF LEFT JOIN weather w ON f.origin = w.origin AND f.time_hour >= w.time_hour;
