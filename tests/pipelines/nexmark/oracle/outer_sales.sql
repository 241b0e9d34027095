SELECT p.id, p.name, a.id AS auction, a.category
FROM person p LEFT JOIN auction a ON p.id = a.seller AND a.category <> 12;
