//! Nexmark's events: who comes, what is put up for auction, and who bids.
//!
//! The same events for the same number of them. They spread over six and a half hours, from 17:50 to past midnight
//! (two days, all three times of day of q14), so that they lie 23 ms apart when there are a million: no two have the
//! same time, and what a query orders by time has one order.

use std::path::Path;

use anyhow::{Context, Result};
use nexmark::EventGenerator;
use nexmark::config::NexmarkConfig;
use nexmark::event::{Auction, Bid, Event as Generated, Person};
use serde_json::{Map, Value, json};

use crate::input::{Event, Events};

/// 2026-07-14T17:50:00Z.
const BASE_TIME_MS: u64 = 1_784_051_400_000;
/// How far the last event is from the first.
const SPAN_US: usize = 23_400_000_000;
/// How many neighbours of a topic go to one partition before the next one has its turn.
const STRETCH: usize = 8;
/// How many rows the table of q13 has while nothing is deleted from it.
const SIDE_INPUT_ROWS: usize = 10_000;

const PERSONS: (&str, i32) = ("nexmark-person", 2);
const AUCTIONS: (&str, i32) = ("nexmark-auction", 3);
const BIDS: (&str, i32) = ("nexmark-bid", 4);
const SIDE_INPUT: (&str, i32) = ("nexmark-side-input", 2);

/// So many events, behind the records of q13's table.
pub fn events(count: usize) -> Events {
    let config = NexmarkConfig {
        base_time: BASE_TIME_MS,
        first_rate: 1,
        next_rate: 1,
        us_per_unit: SPAN_US / count.max(1),
        ..NexmarkConfig::default()
    };
    let mut events = side_input();
    events.reserve(count);
    let mut numbers = [0_usize; 3];
    for generated in EventGenerator::new(config).take(count) {
        let ((topic, partitions), number, value) = match &generated {
            Generated::Person(person) => (PERSONS, &mut numbers[0], of_person(person)),
            Generated::Auction(auction) => (AUCTIONS, &mut numbers[1], of_auction(auction)),
            Generated::Bid(bid) => (BIDS, &mut numbers[2], of_bid(bid)),
        };
        let partition = (*number / STRETCH) as i32 % partitions;
        *number += 1;
        events.push(Event { topic, partition, key: None, value: Some(value) });
    }
    Events { events, partitions: [PERSONS, AUCTIONS, BIDS, SIDE_INPUT].into_iter().collect() }
}

/// Events written by hand: a file of JSON lines for each topic in a folder, as [`Events::write`] makes them. In the
/// order of their times, behind the records of q13's table; each topic is one partition.
pub fn read(folder: &Path) -> Result<Events> {
    let mut events = Vec::new();
    for (topic, _) in [SIDE_INPUT, PERSONS, AUCTIONS, BIDS] {
        let path = folder.join(format!("{topic}.jsonl"));
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        for line in text.lines() {
            let mut fields: Map<String, Value> = serde_json::from_str(line)?;
            let time = fields.get("date_time").and_then(Value::as_i64);
            let key = fields.remove("record_key").and_then(|key| key.as_str().map(str::to_owned));
            let deleted = fields.remove("deleted") == Some(Value::Bool(true));
            fields.remove("number");
            let value = (!deleted).then(|| Value::Object(fields).to_string());
            events.push((time, Event { topic, partition: 0, key, value }));
        }
    }
    events.sort_by_key(|(time, _)| *time);
    let partitions = [PERSONS, AUCTIONS, BIDS, SIDE_INPUT].map(|(topic, _)| (topic, 1));
    Ok(Events {
        events: events.into_iter().map(|(_, event)| event).collect(),
        partitions: partitions.into_iter().collect(),
    })
}

/// A table as a compacted topic holds it before it is compacted: some rows are replaced, some deleted.
fn side_input() -> Vec<Event> {
    let (topic, partitions) = SIDE_INPUT;
    let event = |key: usize, value: Option<String>| Event {
        topic,
        partition: (key % partitions as usize) as i32,
        key: Some(key.to_string()),
        value: value.map(|value| json!({"key": key, "value": value}).to_string()),
    };
    let old = (0..SIDE_INPUT_ROWS).step_by(10).map(|key| event(key, Some(format!("old {key}"))));
    let rows = (0..SIDE_INPUT_ROWS).map(|key| event(key, Some(key.to_string())));
    let deleted = (0..SIDE_INPUT_ROWS).step_by(97).map(|key| event(key, None));
    old.chain(rows).chain(deleted).collect()
}

fn of_person(person: &Person) -> String {
    json!({
        "id": person.id,
        "name": person.name,
        "email_address": person.email_address,
        "credit_card": person.credit_card,
        "city": person.city,
        "state": person.state,
        "date_time": person.date_time,
        "extra": person.extra,
    })
    .to_string()
}

fn of_auction(auction: &Auction) -> String {
    json!({
        "id": auction.id,
        "item_name": auction.item_name,
        "description": auction.description,
        "initial_bid": auction.initial_bid,
        "reserve": auction.reserve,
        "date_time": auction.date_time,
        "expires": auction.expires,
        "seller": auction.seller,
        "category": auction.category,
        "extra": auction.extra,
    })
    .to_string()
}

fn of_bid(bid: &Bid) -> String {
    json!({
        "auction": bid.auction,
        "bidder": bid.bidder,
        "price": bid.price,
        "channel": bid.channel,
        "url": bid.url,
        "date_time": bid.date_time,
        "extra": bid.extra,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn times_rise_in_every_partition_and_no_two_are_the_same() {
        let Events { events, partitions } = events(20_000);
        let mut newest: BTreeMap<(&str, i32), i64> = BTreeMap::new();
        let mut times = Vec::new();
        for event in events.iter().filter(|event| event.topic != SIDE_INPUT.0) {
            let value: Value = serde_json::from_str(event.value.as_ref().unwrap()).unwrap();
            let time = value["date_time"].as_i64().unwrap();
            assert!((0..partitions[event.topic]).contains(&event.partition));
            let newest = newest.entry((event.topic, event.partition)).or_insert(i64::MIN);
            assert!(*newest < time);
            *newest = time;
            times.push(time);
        }
        assert_eq!(newest.len(), 2 + 3 + 4);
        assert_eq!(times.len(), 20_000);
        assert!(times.is_sorted());
        times.dedup();
        assert_eq!(times.len(), 20_000);
        assert!(times[19_999] - times[0] > 6 * 3_600_000, "two days and all times of day");
    }

    #[test]
    fn the_same_number_gives_the_same_events() {
        assert_eq!(events(1_000).events, events(1_000).events);
        // One person, three auctions, forty-six bids.
        let count = |topic: &str| events(1_000).events.iter().filter(|event| event.topic == topic).count();
        assert_eq!([PERSONS.0, AUCTIONS.0, BIDS.0].map(count), [20, 60, 920]);
    }
}
