//! The input: flights as CSV, one JSON object each.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::Context as _;
use flate2::read::MultiGzDecoder;
use serde_json::{Map, Value};

/// January 2013, shipped with the demo.
const BUILT_IN: &[u8] = include_bytes!("../../../../config/demo/flights-2013-01.csv.gz");
const BUILT_IN_NAME: &str = "flights-2013-01.csv.gz";

/// Columns that hold whole numbers; all others are text.
const NUMBERS: [&str; 12] = [
    "year",
    "month",
    "day",
    "dep_time",
    "sched_dep_time",
    "dep_delay",
    "arr_time",
    "sched_arr_time",
    "arr_delay",
    "flight",
    "air_time",
    "distance",
];

/// Columns without which there is nothing to report on.
const NEEDED: [&str; 4] = ["carrier", "dep_time", "dep_delay", "time_hour"];

/// How much of a file tells it from others, beside its name and size.
const IDENTITY_BYTES: u64 = 64 << 10;

/// What is written for a missing value.
const MISSING: &str = "NA";

/// A file of flights, read from the front.
pub(crate) struct Input {
    name: String,
    identity: String,
    columns: Vec<(String, bool)>,
    rows: csv::Reader<Box<dyn Read + Send>>,
    row: csv::StringRecord,
}

/// One flight, ready to be sent.
pub(crate) struct Flight {
    /// Carrier and flight number: flights of one number stay in order.
    pub(crate) key: String,
    /// The JSON object.
    pub(crate) value: Vec<u8>,
}

impl Input {
    /// Opens a file, or the built-in month.
    ///
    /// # Errors
    /// When it cannot be read, or lacks a column.
    pub(crate) fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else {
            let identity = identity(BUILT_IN_NAME, BUILT_IN.len() as u64, BUILT_IN);
            return Self::read(BUILT_IN_NAME.to_owned(), identity, Box::new(MultiGzDecoder::new(BUILT_IN)));
        };
        let cannot = || format!("cannot read {}", path.display());
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let mut file = File::open(path).with_context(cannot)?;
        let size = file.metadata().with_context(cannot)?.len();
        let mut front = Vec::new();
        file.by_ref().take(IDENTITY_BYTES).read_to_end(&mut front).with_context(cannot)?;
        let identity = identity(&name, size, &front);
        let whole = BufReader::with_capacity(1 << 20, std::io::Cursor::new(front).chain(file));
        let is_gzip = name.ends_with(".gz");
        let bytes: Box<dyn Read + Send> =
            if is_gzip { Box::new(MultiGzDecoder::new(whole)) } else { Box::new(whole) };
        Self::read(name, identity, bytes)
    }

    fn read(name: String, identity: String, bytes: Box<dyn Read + Send>) -> anyhow::Result<Self> {
        let mut rows = csv::ReaderBuilder::new().from_reader(bytes);
        let headers = rows.headers().with_context(|| format!("{name} is not a CSV file"))?;
        let columns: Vec<(String, bool)> =
            headers.iter().map(|column| (column.to_owned(), NUMBERS.contains(&column))).collect();
        for needed in NEEDED {
            anyhow::ensure!(
                columns.iter().any(|(column, _)| column == needed),
                "{name} has no column {needed:?}; the demo takes files with the columns of nycflights13"
            );
        }
        Ok(Self { name, identity, columns, rows, row: csv::StringRecord::new() })
    }

    /// The file's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What tells this input from others, wherever it lies.
    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }

    /// Passes over rows that are loaded already.
    ///
    /// # Errors
    /// When there are not so many.
    pub(crate) fn skip_rows(&mut self, count: u64) -> anyhow::Result<()> {
        for _ in 0..count {
            anyhow::ensure!(
                self.next_row()?,
                "{} has fewer than the {count} rows that were loaded from it; it is another file now",
                self.name
            );
        }
        Ok(())
    }

    /// The next flight; `None` at the end.
    ///
    /// # Errors
    /// Names the line that cannot be read.
    fn next_flight(&mut self) -> anyhow::Result<Option<Flight>> {
        if !self.next_row()? {
            return Ok(None);
        }
        let mut object = Map::with_capacity(self.columns.len());
        for ((column, is_number), text) in self.columns.iter().zip(&self.row) {
            let value = match text {
                MISSING | "" => Value::Null,
                number if *is_number => {
                    let line = self.row.position().map_or(0, csv::Position::line);
                    let parsed = number.parse::<i64>();
                    Value::from(parsed.with_context(|| {
                        format!("{}, line {line}: {column} is {number:?}, not a whole number", self.name)
                    })?)
                }
                text => Value::from(text),
            };
            object.insert(column.clone(), value);
        }
        let text = |column: &str| object.get(column).map(Value::to_string).unwrap_or_default();
        let key = format!("{}-{}", text("carrier").trim_matches('"'), text("flight"));
        Ok(Some(Flight { key, value: serde_json::to_vec(&object)? }))
    }

    /// The next flights, so many unless the end comes before.
    ///
    /// # Errors
    /// Names the line that cannot be read.
    pub(crate) fn next_flights(&mut self, count: usize) -> anyhow::Result<Vec<Flight>> {
        let mut flights = Vec::with_capacity(count);
        while flights.len() < count {
            let Some(flight) = self.next_flight()? else { break };
            flights.push(flight);
        }
        Ok(flights)
    }

    fn next_row(&mut self) -> anyhow::Result<bool> {
        self.rows.read_record(&mut self.row).with_context(|| format!("cannot read {}", self.name))
    }
}

/// Name, size and the first bytes: the same file has the same identity wherever it lies.
fn identity(name: &str, size: u64, front: &[u8]) -> String {
    let mut crc = flate2::Crc::new();
    crc.update(&front[..front.len().min(IDENTITY_BYTES as usize)]);
    format!("{name}:{size}:{:08x}", crc.sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV: &str = "carrier,flight,dep_time,dep_delay,time_hour\n\
                       UA,1545,517,2,2013-01-01T10:00:00Z\nAA,1,NA,NA,2013-01-01T11:00:00Z\n";

    fn input(text: &'static str) -> anyhow::Result<Input> {
        Input::read("t.csv".into(), "t".into(), Box::new(text.as_bytes()))
    }

    #[test]
    fn a_row_becomes_an_object_and_na_becomes_null() {
        let mut input = input(CSV).expect("a good file");
        let first = input.next_flight().expect("a good row").expect("a row");
        assert_eq!(first.key, "UA-1545");
        assert_eq!(
            String::from_utf8_lossy(&first.value),
            r#"{"carrier":"UA","flight":1545,"dep_time":517,"dep_delay":2,"time_hour":"2013-01-01T10:00:00Z"}"#
        );
        let second = input.next_flight().expect("a good row").expect("a row");
        assert!(String::from_utf8_lossy(&second.value).contains(r#""dep_time":null,"dep_delay":null"#));
        assert!(input.next_flight().expect("the end").is_none());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let missing = input("carrier,flight\nUA,1\n").err().expect("a column is missing").to_string();
        assert!(missing.contains("dep_time"), "{missing}");
        let text = "carrier,flight,dep_time,dep_delay,time_hour\nUA,1,early,2,x\n";
        let error = input(text).expect("the head is good").next_flight().err().expect("not a number");
        assert!(format!("{error:#}").contains("line 2: dep_time is \"early\""), "{error:#}");
    }

    #[test]
    fn rows_can_be_passed_over_but_not_more_than_there_are() {
        let mut two = input(CSV).expect("a good file");
        two.skip_rows(2).expect("two rows");
        assert!(two.skip_rows(1).is_err());
    }

    #[test]
    fn the_built_in_month_is_there() {
        let mut month = Input::open(None).expect("it is built in");
        assert!(month.next_flight().expect("a good row").is_some());
        month.skip_rows(27_003).expect("January has 27,004 flights");
        assert!(month.next_flight().expect("the end").is_none());
    }
}
