SELECT counted.auction, counted.num, counted.window_end
FROM (
  SELECT auction, COUNT(*) AS num, window_start, window_end
  FROM TABLE(HOP(TABLE bid, DESCRIPTOR(date_time), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
  GROUP BY auction, window_start, window_end
) AS counted
JOIN (
  SELECT MAX(numbers.num) AS most, numbers.window_start, numbers.window_end
  FROM (
    SELECT COUNT(*) AS num, window_start, window_end
    FROM TABLE(HOP(TABLE bid, DESCRIPTOR(date_time), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
    GROUP BY auction, window_start, window_end
  ) AS numbers
  GROUP BY numbers.window_start, numbers.window_end
) AS highest
ON counted.window_start = highest.window_start
  AND counted.window_end = highest.window_end
  AND counted.num >= highest.most
