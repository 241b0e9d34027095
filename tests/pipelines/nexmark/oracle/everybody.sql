SELECT id, 'person' AS kind, date_time FROM person
UNION ALL
SELECT seller, 'seller', date_time FROM auction
UNION ALL
SELECT bidder, 'bidder', date_time FROM bid WHERE price > 1000000;
