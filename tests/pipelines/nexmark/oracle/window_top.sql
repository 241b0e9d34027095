WITH counted AS (
  SELECT time_bucket(INTERVAL 1 MINUTE, date_time) AS window_start, auction, count(*) AS bids FROM bid GROUP BY ALL
)
SELECT *, row_number() OVER (PARTITION BY window_start ORDER BY bids DESC, auction) AS rank_number
FROM counted
QUALIFY rank_number <= 3;
