//! Orders and their payments, what scripts make of them, and what must come out.

use std::collections::BTreeMap;

use logmill_client::{Client, Isolation, NewTopic, ProducerRecord, StartAt};
use serde_json::{Value, json};

/// State by the records' key: a windowed aggregate, and a join.
pub(crate) const BY_CUSTOMER: &str = "
CREATE TABLE orders (
  customer STRING NOT NULL METADATA FROM 'key', number BIGINT, amount BIGINT, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('topic' = 'orders', 'format' = 'json', 'json.timestamp-format.standard' = 'EPOCH-MILLIS');

CREATE TABLE payments (
  customer STRING NOT NULL METADATA FROM 'key', number BIGINT, paid BIGINT, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('topic' = 'payments', 'format' = 'json', 'json.timestamp-format.standard' = 'EPOCH-MILLIS');

CREATE TABLE totals (window_start TIMESTAMP(3), customer STRING, orders BIGINT, amount BIGINT)
WITH ('topic' = 'totals', 'format' = 'json', 'json.timestamp-format.standard' = 'EPOCH-MILLIS');

CREATE TABLE paid (number BIGINT, customer STRING, amount BIGINT, paid BIGINT)
WITH ('topic' = 'paid', 'format' = 'json');

INSERT INTO totals
SELECT window_start, customer, COUNT(*), SUM(amount)
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '10' SECOND))
GROUP BY window_start, window_end, customer;

INSERT INTO paid
SELECT o.number, o.customer, o.amount, p.paid
FROM orders o JOIN payments p
  ON o.customer = p.customer AND o.number = p.number AND p.ts BETWEEN o.ts AND o.ts + INTERVAL '1' MINUTE;
";

/// State by something else than the records' key.
pub(crate) const BY_SHOP: &str = "
CREATE TABLE orders (
  customer STRING NOT NULL METADATA FROM 'key', shop BIGINT, amount BIGINT, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('topic' = 'orders', 'format' = 'json', 'json.timestamp-format.standard' = 'EPOCH-MILLIS');

CREATE TABLE shops (window_start TIMESTAMP(3), shop BIGINT, orders BIGINT, amount BIGINT)
WITH ('topic' = 'shops', 'format' = 'json', 'json.timestamp-format.standard' = 'EPOCH-MILLIS');

INSERT INTO shops
SELECT window_start, shop, COUNT(*), SUM(amount)
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '10' SECOND))
GROUP BY window_start, window_end, shop;
";

const WINDOW_MS: i64 = 10_000;
const CUSTOMERS: i64 = 17;
const SHOPS: i64 = 4;

/// So many orders, a tenth of a second apart; two of three are paid.
pub(crate) struct Orders(i64);

fn time(number: i64) -> i64 {
    1_700_000_000_000 + number * 100
}

fn customer(number: i64) -> String {
    format!("customer-{}", number * 7 % CUSTOMERS)
}

fn amount(number: i64) -> i64 {
    number * 31 % 97
}

fn is_paid(number: i64) -> bool {
    number % 3 != 0
}

impl Orders {
    pub(crate) fn new(count: i64) -> Self {
        Self(count)
    }

    /// Makes the topics and writes all of them.
    pub(crate) async fn write(&self, address: &str, partitions: u32) {
        let client = Client::connect(address).await.expect("a connection");
        for topic in ["orders", "payments"] {
            client.admin().create_topic(&NewTopic::new(topic).partitions(partitions)).await.expect("a topic");
        }
        let producer = client.producer().build().await.expect("a producer");
        for number in 0..self.0 {
            let order = json!({
                "number": number, "amount": amount(number), "shop": number % SHOPS, "ts": time(number),
            });
            let record = ProducerRecord::to("orders").key(customer(number)).value(order.to_string());
            drop(producer.enqueue(record).await.expect("enqueued"));
            if is_paid(number) {
                let payment =
                    json!({ "number": number, "paid": amount(number) + 1, "ts": time(number) + 900 });
                let record = ProducerRecord::to("payments").key(customer(number)).value(payment.to_string());
                drop(producer.enqueue(record).await.expect("enqueued"));
            }
        }
        producer.close().await.expect("all is written");
    }

    /// By a window and what `of` says: how many orders, and their amounts.
    fn grouped<K: Ord>(&self, of: impl Fn(i64) -> K) -> BTreeMap<(i64, K), (i64, i64)> {
        let mut groups: BTreeMap<(i64, K), (i64, i64)> = BTreeMap::new();
        for number in 0..self.0 {
            let window = time(number).div_euclid(WINDOW_MS) * WINDOW_MS;
            let group = groups.entry((window, of(number))).or_default();
            *group = (group.0 + 1, group.1 + amount(number));
        }
        groups
    }

    /// What [`BY_CUSTOMER`] has written is exactly what it should; with `ordered`, in the order of event time in each
    /// partition.
    pub(crate) async fn check(&self, address: &str, ordered: bool) {
        let client = Client::connect(address).await.expect("a connection");
        let totals = read(&client, "totals").await;
        if ordered {
            for rows in &totals {
                let windows: Vec<i64> = rows.iter().map(|row| integer(row, "window_start")).collect();
                // Keys of one sink partition come from several tasks, each in its own order.
                let mut by_customer: BTreeMap<&str, i64> = BTreeMap::new();
                for (row, window) in rows.iter().zip(&windows) {
                    let customer = row["customer"].as_str().expect("a text");
                    let before = by_customer.insert(customer, *window);
                    assert!(before.is_none_or(|before| before < *window), "{customer} goes back to {window}");
                }
            }
        }
        let mut found = BTreeMap::new();
        for row in totals.into_iter().flatten() {
            let customer = row["customer"].as_str().expect("a text").to_owned();
            let group = (integer(&row, "orders"), integer(&row, "amount"));
            let again = found.insert((integer(&row, "window_start"), customer), group);
            assert_eq!(again, None, "written twice: {row}");
        }
        assert_eq!(found, self.grouped(customer));

        let mut found = BTreeMap::new();
        for row in read(&client, "paid").await.into_iter().flatten() {
            let number = integer(&row, "number");
            let pair = (row["customer"].as_str().expect("a text").to_owned(), integer(&row, "paid"));
            assert_eq!(integer(&row, "amount"), amount(number));
            assert_eq!(found.insert(number, pair), None, "written twice: {row}");
        }
        let paid = (0..self.0).filter(|number| is_paid(*number));
        let expected: BTreeMap<_, _> =
            paid.map(|number| (number, (customer(number), amount(number) + 1))).collect();
        assert_eq!(found, expected);
    }

    /// What [`BY_SHOP`] has written is exactly what it should.
    pub(crate) async fn check_shops(&self, address: &str) {
        let client = Client::connect(address).await.expect("a connection");
        let mut found = BTreeMap::new();
        for row in read(&client, "shops").await.into_iter().flatten() {
            let group = (integer(&row, "orders"), integer(&row, "amount"));
            let again = found.insert((integer(&row, "window_start"), integer(&row, "shop")), group);
            assert_eq!(again, None, "written twice: {row}");
        }
        assert_eq!(found, self.grouped(|number| number % SHOPS));
    }
}

fn integer(row: &Value, field: &str) -> i64 {
    row[field].as_i64().unwrap_or_else(|| panic!("{field} of {row}"))
}

/// The committed records of each partition.
async fn read(client: &Client, topic: &str) -> Vec<Vec<Value>> {
    let partitions = client.admin().describe_topic(topic).await.expect("a topic").partitions.len() as i32;
    let mut found = Vec::new();
    for partition in 0..partitions {
        let offsets = client.admin().offsets(topic, partition, Isolation::Committed).await.expect("offsets");
        let reader = client.reader().partition(topic, partition, StartAt::Earliest);
        let mut reader = reader.build().await.expect("a reader");
        let mut rows = Vec::new();
        let arrives = |position: Option<i64>| position.is_some_and(|position| position >= offsets.end);
        while offsets.end > 0 && !arrives(reader.position(topic, partition)) {
            // Markers are at the end, and give no record.
            let wait = std::time::Duration::from_millis(200);
            let Ok(record) = tokio::time::timeout(wait, reader.next()).await else { continue };
            let value = record.expect("a record").value.expect("a value");
            rows.push(serde_json::from_slice(&value).expect("JSON"));
        }
        found.push(rows);
    }
    found
}
