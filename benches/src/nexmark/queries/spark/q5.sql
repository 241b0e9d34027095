SELECT INLINE(FILTER(numbers, number -> number.num = most)) AS (auction, num), window.end AS window_end
FROM (
  SELECT window, MAX(num) AS most, COLLECT_LIST(STRUCT(auction, num)) AS numbers
  FROM (
    SELECT auction, COUNT(*) AS num, window
    FROM bid
    GROUP BY auction, WINDOW(date_time, '10 seconds', '2 seconds')
  ) AS counted
  GROUP BY window
) AS highest
