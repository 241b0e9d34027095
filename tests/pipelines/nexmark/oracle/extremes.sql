WITH counted AS (SELECT bidder, count(*) AS bids FROM bid GROUP BY ALL)
SELECT
  bidder // 10 AS tens, count(*) AS bidders, max(bids) AS most, min(bids) AS fewest, avg(bids) AS average,
  count(DISTINCT bids) AS kinds
FROM counted
GROUP BY ALL;
