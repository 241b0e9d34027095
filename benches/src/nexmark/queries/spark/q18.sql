SELECT last.*
FROM (
  SELECT MAX_BY(STRUCT(auction, bidder, price, channel, url, date_time, extra), date_time) AS last
  FROM bid
  GROUP BY bidder, auction
) AS ranked
