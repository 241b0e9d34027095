SELECT id, name, p.window.start AS start_time, p.window.end AS window_end
FROM (
  SELECT id, name, window
  FROM person
  GROUP BY id, name, WINDOW(date_time, '10 seconds')
) AS p
JOIN (
  SELECT seller, window
  FROM auction
  GROUP BY seller, WINDOW(date_time, '10 seconds')
) AS a
ON p.id = a.seller AND p.window = a.window
