//! Nexmark's events as JSON, in the order of their numbers, without those that nobody reads.

use std::io::Write as _;

use nexmark::EventGenerator;
use nexmark::config::NexmarkConfig;
use nexmark::event::{Event, EventType};

use crate::nexmark::queries::Table;

/// Of fifty events the first is a person, three are auctions, the others are bids.
const CYCLE: u64 = 50;
const AUCTIONS: u64 = 3;

/// In event time; Nexmark's usual rate.
const EVENTS_PER_SECOND: u64 = 10_000;

/// The events of some tables, without end.
pub(crate) struct Events {
    number: u64,
    generators: [Option<EventGenerator>; Table::ALL.len()],
}

/// An event whose time is still to be given.
pub(crate) struct Timeless {
    number: u64,
    event: Event,
}

impl Events {
    pub(crate) fn new(tables: &[Table]) -> Self {
        let config = NexmarkConfig { base_time: 0, ..NexmarkConfig::default() };
        let generator = |table: Table| {
            let of = match table {
                Table::Person => EventType::Person,
                Table::Auction => EventType::Auction,
                Table::Bid => EventType::Bid,
            };
            tables.contains(&table).then(|| EventGenerator::new(config.clone()).with_type_filter(of))
        };
        Self { number: 0, generators: Table::ALL.map(generator) }
    }
}

impl Iterator for Events {
    type Item = Timeless;

    fn next(&mut self) -> Option<Timeless> {
        if self.generators.iter().all(Option::is_none) {
            return None;
        }
        loop {
            let number = self.number;
            self.number += 1;
            let table = match number % CYCLE {
                0 => Table::Person,
                1..=AUCTIONS => Table::Auction,
                _ => Table::Bid,
            };
            if let Some(generator) = &mut self.generators[table as usize] {
                return generator.next().map(|event| Timeless { number, event });
            }
        }
    }
}

impl Timeless {
    pub(crate) fn table(&self) -> Table {
        match self.event {
            Event::Person(_) => Table::Person,
            Event::Auction(_) => Table::Auction,
            Event::Bid(_) => Table::Bid,
        }
    }

    /// When it happened, if events come at Nexmark's usual rate from `base` on.
    pub(crate) fn usual_time(&self, base: i64) -> i64 {
        base + (self.number * 1000 / EVENTS_PER_SECOND).cast_signed()
    }

    /// Appends it as a JSON object that happened at `time` ms. The generator's texts have nothing that JSON escapes.
    pub(crate) fn write(&self, time: i64, out: &mut Vec<u8>) {
        match &self.event {
            Event::Person(person) => write!(
                out,
                r#"{{"id":{},"name":"{}","email_address":"{}","credit_card":"{}","city":"{}","state":"{}","date_time":{time},"extra":"{}"}}"#,
                person.id,
                person.name,
                person.email_address,
                person.credit_card,
                person.city,
                person.state,
                person.extra
            ),
            Event::Auction(auction) => write!(
                out,
                r#"{{"id":{},"item_name":"{}","description":"{}","initial_bid":{},"reserve":{},"date_time":{time},"expires":{},"seller":{},"category":{},"extra":"{}"}}"#,
                auction.id,
                auction.item_name,
                auction.description,
                auction.initial_bid,
                auction.reserve,
                time + auction.expires.saturating_sub(auction.date_time).cast_signed(),
                auction.seller,
                auction.category,
                auction.extra
            ),
            Event::Bid(bid) => write!(
                out,
                r#"{{"auction":{},"bidder":{},"price":{},"channel":"{}","url":"{}","date_time":{time},"extra":"{}"}}"#,
                bid.auction, bid.bidder, bid.price, bid.channel, bid.url, bid.extra
            ),
        }
        .expect("writing to memory cannot fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_events_of_one_table_are_those_it_has_among_all() {
        let written = |events: Events| {
            events.map(|event| {
                let mut out = Vec::new();
                event.write(event.usual_time(0), &mut out);
                (event.table(), String::from_utf8(out).unwrap())
            })
        };
        let all: Vec<_> = written(Events::new(&Table::ALL)).take(200).collect();
        let count = |table| all.iter().filter(|(of, _)| *of == table).count();
        assert_eq!(Table::ALL.map(count), [4, 12, 184]);
        let bids: Vec<_> = written(Events::new(&[Table::Bid])).take(184).collect();
        assert!(all.iter().filter(|(of, _)| *of == Table::Bid).eq(&bids));
        assert_eq!(Events::new(&[]).count(), 0);
    }

    #[test]
    fn texts_need_no_escapes() {
        for event in Events::new(&Table::ALL).take(5_000) {
            let mut out = Vec::new();
            event.write(1, &mut out);
            let text = String::from_utf8(out).unwrap();
            assert!(!text.contains('\\') && text.is_ascii() && !text.contains(char::is_control), "{text}");
            // A quote around each name and each text, and none within.
            let quotes = match event.table() {
                Table::Person => 8 * 2 + 6 * 2,
                Table::Auction => 10 * 2 + 3 * 2,
                Table::Bid => 7 * 2 + 3 * 2,
            };
            assert_eq!(text.matches('"').count(), quotes, "{text}");
            assert!(text.contains(r#""date_time":1,"#), "{text}");
        }
    }
}
