-- Which window a bid falls into is a matter of when it was processed; that each is counted once is not.
-- conserved: bid_count
SELECT bidder, count(*) AS bid_count FROM bid GROUP BY bidder;
