SELECT auction, price, date_time FROM bid WHERE MOD(auction, 123) = 0
