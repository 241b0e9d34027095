SELECT id, upper(city) AS city FROM person WHERE id % 2 = 0;
