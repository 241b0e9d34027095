//! The queries: what each reads, writes and means, the same for every engine.

use clap::ValueEnum;

/// One of Nexmark's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Table {
    Person,
    Auction,
    Bid,
}

impl Table {
    pub(crate) const ALL: [Self; 3] = [Self::Person, Self::Auction, Self::Bid];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Auction => "auction",
            Self::Bid => "bid",
        }
    }

    /// Its columns; `ROWTIME` is the event time, in JSON a number of milliseconds.
    pub(crate) fn columns(self) -> &'static [Column] {
        match self {
            Self::Person => &[
                ("id", "BIGINT"),
                ("name", "STRING"),
                ("email_address", "STRING"),
                ("credit_card", "STRING"),
                ("city", "STRING"),
                ("state", "STRING"),
                ("date_time", ROWTIME),
                ("extra", "STRING"),
            ],
            Self::Auction => &[
                ("id", "BIGINT"),
                ("item_name", "STRING"),
                ("description", "STRING"),
                ("initial_bid", "BIGINT"),
                ("reserve", "BIGINT"),
                ("date_time", ROWTIME),
                ("expires", "BIGINT"),
                ("seller", "BIGINT"),
                ("category", "BIGINT"),
                ("extra", "STRING"),
            ],
            Self::Bid => &[
                ("auction", "BIGINT"),
                ("bidder", "BIGINT"),
                ("price", "BIGINT"),
                ("channel", "STRING"),
                ("url", "STRING"),
                ("date_time", ROWTIME),
                ("extra", "STRING"),
            ],
        }
    }
}

/// Name and SQL type.
pub(crate) type Column = (&'static str, &'static str);

/// The type of event time, which every engine spells in its own way.
pub(crate) const ROWTIME: &str = "ROWTIME";

/// Which moment a row of the output stands for: what is waited for until it can be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The newest of these columns is the time of the newest event in it.
    Event(&'static [&'static str]),
    /// The end of its window is in `window_end`; the watermark comes [`WATERMARK_DELAY_MS`] later.
    Close,
}

/// How far watermarks are behind the newest event, in every engine.
pub(crate) const WATERMARK_DELAY_MS: i64 = 4_000;

/// A query of Nexmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Query {
    Q0,
    Q1,
    Q2,
    Q5,
    Q7,
    Q8,
    Q11,
    Q17,
    Q18,
    Q20,
}

impl Query {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Q0 => "q0",
            Self::Q1 => "q1",
            Self::Q2 => "q2",
            Self::Q5 => "q5",
            Self::Q7 => "q7",
            Self::Q8 => "q8",
            Self::Q11 => "q11",
            Self::Q17 => "q17",
            Self::Q18 => "q18",
            Self::Q20 => "q20",
        }
    }

    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Q0 => "pass on",
            Self::Q1 => "a price in euros",
            Self::Q2 => "filter",
            Self::Q5 => "most bids in 10 s, every 2 s",
            Self::Q7 => "highest bids of each 10 s",
            Self::Q8 => "new sellers of each 10 s",
            Self::Q11 => "sessions of bidders",
            Self::Q17 => "auctions by day, changes",
            Self::Q18 => "last bids, changes",
            Self::Q20 => "bids joined to auctions",
        }
    }

    pub(crate) fn tables(self) -> &'static [Table] {
        match self {
            Self::Q8 => &[Table::Person, Table::Auction],
            Self::Q20 => &[Table::Auction, Table::Bid],
            _ => &[Table::Bid],
        }
    }

    /// What is selected, in the SQL that Logmill and Flink have in common.
    pub(crate) fn select(self) -> &'static str {
        match self {
            Self::Q0 => include_str!("queries/q0.sql"),
            Self::Q1 => include_str!("queries/q1.sql"),
            Self::Q2 => include_str!("queries/q2.sql"),
            Self::Q5 => include_str!("queries/q5.sql"),
            Self::Q7 => include_str!("queries/q7.sql"),
            Self::Q8 => include_str!("queries/q8.sql"),
            Self::Q11 => include_str!("queries/q11.sql"),
            Self::Q17 => include_str!("queries/q17.sql"),
            Self::Q18 => include_str!("queries/q18.sql"),
            Self::Q20 => include_str!("queries/q20.sql"),
        }
    }

    /// The same for Spark, whose windows are functions of `GROUP BY`, and which ranks no rows of a stream.
    pub(crate) fn spark(self) -> &'static str {
        match self {
            Self::Q5 => include_str!("queries/spark/q5.sql"),
            Self::Q7 => include_str!("queries/spark/q7.sql"),
            Self::Q8 => include_str!("queries/spark/q8.sql"),
            Self::Q11 => include_str!("queries/spark/q11.sql"),
            Self::Q18 => include_str!("queries/spark/q18.sql"),
            Self::Q0 | Self::Q1 | Self::Q2 | Self::Q17 | Self::Q20 => self.select(),
        }
    }

    /// The columns of the output.
    pub(crate) fn columns(self) -> &'static [Column] {
        const BIGINT: &str = "BIGINT";
        const STRING: &str = "STRING";
        const INSTANT: &str = "TIMESTAMP(3)";
        match self {
            Self::Q0 => &[
                ("auction", BIGINT),
                ("bidder", BIGINT),
                ("price", BIGINT),
                ("date_time", ROWTIME),
                ("extra", STRING),
            ],
            Self::Q1 => &[
                ("auction", BIGINT),
                ("bidder", BIGINT),
                ("price", "DECIMAL(23, 3)"),
                ("date_time", ROWTIME),
                ("extra", STRING),
            ],
            Self::Q2 => &[("auction", BIGINT), ("price", BIGINT), ("date_time", ROWTIME)],
            Self::Q5 => &[("auction", BIGINT), ("num", BIGINT), ("window_end", INSTANT)],
            Self::Q7 => &[
                ("auction", BIGINT),
                ("bidder", BIGINT),
                ("price", BIGINT),
                ("date_time", ROWTIME),
                ("extra", STRING),
                ("window_end", INSTANT),
            ],
            Self::Q8 => &[("id", BIGINT), ("name", STRING), ("start_time", INSTANT), ("window_end", INSTANT)],
            Self::Q11 => {
                &[("bidder", BIGINT), ("bid_count", BIGINT), ("start_time", INSTANT), ("window_end", INSTANT)]
            }
            Self::Q17 => &[
                ("auction", BIGINT),
                ("`day`", STRING),
                ("total_bids", BIGINT),
                ("rank1_bids", BIGINT),
                ("rank2_bids", BIGINT),
                ("rank3_bids", BIGINT),
                ("min_price", BIGINT),
                ("max_price", BIGINT),
                ("avg_price", "DOUBLE"),
                ("sum_price", BIGINT),
                ("date_time", ROWTIME),
            ],
            Self::Q18 => Table::Bid.columns(),
            Self::Q20 => &[
                ("auction", BIGINT),
                ("bidder", BIGINT),
                ("price", BIGINT),
                ("channel", STRING),
                ("url", STRING),
                ("bid_date_time", ROWTIME),
                ("bid_extra", STRING),
                ("item_name", STRING),
                ("description", STRING),
                ("initial_bid", BIGINT),
                ("reserve", BIGINT),
                ("auction_date_time", ROWTIME),
                ("expires", BIGINT),
                ("seller", BIGINT),
                ("category", BIGINT),
                ("auction_extra", STRING),
            ],
        }
    }

    /// The key by which later rows replace earlier ones; `None` when rows are only added.
    pub(crate) fn key(self) -> Option<&'static str> {
        match self {
            Self::Q17 => Some("auction, `day`"),
            Self::Q18 => Some("bidder, auction"),
            _ => None,
        }
    }

    /// Whether what it keeps grows for ever, which Logmill wants to be said.
    pub(crate) fn unbounded(self) -> bool {
        matches!(self, Self::Q17 | Self::Q18 | Self::Q20)
    }

    pub(crate) fn moment(self) -> Moment {
        match self {
            Self::Q5 | Self::Q7 | Self::Q8 | Self::Q11 => Moment::Close,
            Self::Q20 => Moment::Event(&["bid_date_time", "auction_date_time"]),
            _ => Moment::Event(&["date_time"]),
        }
    }

    /// Events that Logmill is to get through in a CPU second, as far as there is an aim.
    pub(crate) fn aim(self) -> Option<f64> {
        match self {
            Self::Q1 => Some(700_000.0),
            Self::Q5 | Self::Q7 | Self::Q8 => Some(1_000_000.0),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_latency_is_taken_from_is_in_the_output() {
        for query in Query::value_variants() {
            let names: Vec<&str> = query.columns().iter().map(|(name, _)| *name).collect();
            match query.moment() {
                Moment::Event(of) => assert!(of.iter().all(|name| names.contains(name)), "{query:?}"),
                Moment::Close => assert!(names.contains(&"window_end"), "{query:?}"),
            }
            for part in query.key().into_iter().flat_map(|key| key.split(", ")) {
                assert!(names.contains(&part), "{query:?}");
            }
        }
    }
}
