WITH counted AS (SELECT bidder, count(*) AS bids FROM bid GROUP BY ALL)
SELECT bids, count(*) AS bidders FROM counted GROUP BY ALL;
