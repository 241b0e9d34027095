-- The events as DuckDB's tables. `$data` is the folder of the topics' files, one JSON object a line.

CREATE TABLE person AS
SELECT id, name, email_address, credit_card, city, state, epoch_ms(date_time) AS date_time, extra
FROM read_json('$data/nexmark-person.jsonl', format = 'newline_delimited', columns = {
  id: 'BIGINT', name: 'VARCHAR', email_address: 'VARCHAR', credit_card: 'VARCHAR', city: 'VARCHAR', state: 'VARCHAR',
  date_time: 'BIGINT', extra: 'VARCHAR'
});

CREATE TABLE auction AS
SELECT
  id, item_name, description, initial_bid, reserve, epoch_ms(date_time) AS date_time, epoch_ms(expires) AS expires,
  seller, category, extra
FROM read_json('$data/nexmark-auction.jsonl', format = 'newline_delimited', columns = {
  id: 'BIGINT', item_name: 'VARCHAR', description: 'VARCHAR', initial_bid: 'BIGINT', reserve: 'BIGINT',
  date_time: 'BIGINT', expires: 'BIGINT', seller: 'BIGINT', category: 'BIGINT', extra: 'VARCHAR'
});

CREATE TABLE bid AS
SELECT auction, bidder, price, channel, url, epoch_ms(date_time) AS date_time, extra
FROM read_json('$data/nexmark-bid.jsonl', format = 'newline_delimited', columns = {
  auction: 'BIGINT', bidder: 'BIGINT', price: 'BIGINT', channel: 'VARCHAR', url: 'VARCHAR', date_time: 'BIGINT',
  extra: 'VARCHAR'
});

-- A compacted topic: the last record of each key counts, and one without a value deletes it.
CREATE TABLE side_input AS
SELECT record_key AS key, arg_max(value, number) AS value
FROM read_json('$data/nexmark-side-input.jsonl', format = 'newline_delimited', columns = {
  number: 'BIGINT', record_key: 'BIGINT', deleted: 'BOOLEAN', value: 'VARCHAR'
})
GROUP BY record_key
HAVING NOT arg_max(deleted, number);
