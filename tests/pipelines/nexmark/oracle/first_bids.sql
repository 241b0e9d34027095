SELECT bidder, auction, price, date_time
FROM bid
QUALIFY row_number() OVER (PARTITION BY bidder ORDER BY date_time) = 1;
