SELECT b.auction, b.bidder, b.price, b.date_time, a.date_time AS opened
FROM auction a JOIN bid b
  ON b.auction = a.id AND b.date_time BETWEEN a.date_time AND a.date_time + INTERVAL 10 MINUTE;
