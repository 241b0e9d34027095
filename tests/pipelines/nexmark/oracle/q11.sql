-- Two bids exactly ten seconds apart are of one session, as in Flink: their windows touch.
WITH marked AS (
  SELECT
    bidder, date_time,
    date_time - lag(date_time) OVER (PARTITION BY bidder ORDER BY date_time) > INTERVAL 10 SECOND AS first
  FROM bid
), numbered AS (
  SELECT
    bidder, date_time, count(*) FILTER (WHERE first) OVER (PARTITION BY bidder ORDER BY date_time) AS session
  FROM marked
)
SELECT bidder, count(*) AS bid_count, min(date_time) AS start_time, max(date_time) + INTERVAL 10 SECOND AS end_time
FROM numbered
GROUP BY bidder, session;
