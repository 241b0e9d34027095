//! The flights: CSV in, JSON records out, with the place in the file each chunk ends at.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use flate2::read::MultiGzDecoder;
use tokio::sync::mpsc;

use crate::failure::Usage;

/// One month of flights, built in.
const BUILT_IN: &[u8] = include_bytes!("../../../../config/demo/flights-2013-01.csv.gz");
const BUILT_IN_NAME: &str = "flights-2013-01.csv.gz";

/// The column that chooses the partition.
const KEY_COLUMN: &str = "carrier";
/// The column of the event time. A file without these two is not one of flights.
const TIME_COLUMN: &str = "time_hour";

/// What tells one input from another: their names, sizes and beginnings.
const BEGINNING: usize = 64 << 10;

/// Where flights come from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    BuiltIn,
    File(PathBuf),
}

impl Source {
    fn open(&self) -> anyhow::Result<(Box<dyn Read + Send>, u64)> {
        match self {
            Self::BuiltIn => Ok((Box::new(Cursor::new(BUILT_IN)), BUILT_IN.len() as u64)),
            Self::File(path) => {
                let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
                let size = file.metadata()?.len();
                Ok((Box::new(file), size))
            }
        }
    }

    fn name(&self) -> String {
        match self {
            Self::BuiltIn => BUILT_IN_NAME.to_owned(),
            Self::File(path) => path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned(),
        }
    }

    /// The name under which the position in this input is kept.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn identity(&self) -> anyhow::Result<String> {
        let (source, size) = self.open()?;
        let mut beginning = Vec::new();
        source.take(BEGINNING as u64).read_to_end(&mut beginning)?;
        Ok(format!("{} {size} {:016x}", self.name(), fnv1a(&beginning)))
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BuiltIn => write!(f, "{BUILT_IN_NAME} (built in)"),
            Self::File(path) => Path::display(path).fmt(f),
        }
    }
}

/// The 64-bit FNV-1a hash: the same in every version of this program.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// One flight as a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flight {
    pub(crate) key: String,
    pub(crate) value: String,
}

/// Some flights in the order of the file.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) flights: Vec<Flight>,
    /// Rows of the file up to the end of this chunk.
    pub(crate) rows: u64,
    /// How much of the file is read, from 0 to 1.
    pub(crate) share: f64,
    /// The file ends here.
    pub(crate) last: bool,
}

/// Chunks made ahead of what is being sent.
const CHUNKS_AHEAD: usize = 2;

/// Reads the file from row `from` on, in a thread of its own. The last chunk may be empty.
pub(crate) fn read(source: Source, from: u64, chunk_rows: usize) -> mpsc::Receiver<anyhow::Result<Chunk>> {
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    std::thread::spawn(move || {
        let sent = read_chunks(&source, from, chunk_rows, |chunk| sender.blocking_send(Ok(chunk)).is_ok());
        if let Err(error) = sent {
            let _ = sender.blocking_send(Err(error.context(format!("reading {source}"))));
        }
    });
    receiver
}

fn read_chunks(
    source: &Source,
    from: u64,
    chunk_rows: usize,
    mut send: impl FnMut(Chunk) -> bool,
) -> anyhow::Result<()> {
    let (file, size) = source.open()?;
    let count = Arc::new(AtomicU64::new(0));
    let mut file = Counting { file, count: Arc::clone(&count) };
    let mut magic = [0; 2];
    let read = read_up_to(&mut file, &mut magic)?;
    let whole = Cursor::new(magic).take(read as u64).chain(file);
    let plain: Box<dyn Read> =
        if magic == [0x1f, 0x8b] { Box::new(MultiGzDecoder::new(whole)) } else { Box::new(whole) };
    let mut rows = csv::ReaderBuilder::new().from_reader(io::BufReader::new(plain));
    let columns = Columns::new(rows.headers()?)?;
    let mut row = csv::StringRecord::new();
    let mut chunk = Vec::with_capacity(chunk_rows);
    let mut number = 0;
    loop {
        let more = rows.read_record(&mut row)?;
        if more {
            number += 1;
            if number > from {
                chunk.push(columns.flight(&row));
            }
        }
        if !more || chunk.len() == chunk_rows {
            let flights = std::mem::replace(&mut chunk, Vec::with_capacity(chunk_rows));
            let share = if more { count.load(Ordering::Relaxed) as f64 / size.max(1) as f64 } else { 1.0 };
            let wanted = send(Chunk { flights, rows: number, share: share.min(1.0), last: !more });
            if !more || !wanted {
                return Ok(());
            }
        }
    }
}

fn read_up_to(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

struct Counting {
    file: Box<dyn Read + Send>,
    count: Arc<AtomicU64>,
}

impl Read for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// The heading of the file.
#[derive(Debug)]
struct Columns {
    /// Each name as the beginning of a JSON member: `"carrier":`.
    members: Vec<String>,
    key: usize,
}

impl Columns {
    fn new(headings: &csv::StringRecord) -> anyhow::Result<Self> {
        let place = |name: &str| {
            let missing = || {
                Usage(format!(
                    "there is no column {name:?}; the demo takes files of flights as in nycflights13"
                ))
            };
            headings.iter().position(|heading| heading == name).ok_or_else(missing)
        };
        place(TIME_COLUMN)?;
        let members = headings.iter().map(|name| format!("{}:", serde_json::Value::from(name)));
        Ok(Self { members: members.collect(), key: place(KEY_COLUMN)? })
    }

    fn flight(&self, row: &csv::StringRecord) -> Flight {
        let mut value = String::with_capacity(320);
        for (member, cell) in self.members.iter().zip(row) {
            value.push(if value.is_empty() { '{' } else { ',' });
            value.push_str(member);
            push_cell(&mut value, cell);
        }
        value.push('}');
        Flight { key: row.get(self.key).unwrap_or_default().to_owned(), value }
    }
}

/// `NA` is null, numbers are numbers, the rest is text.
fn push_cell(out: &mut String, cell: &str) {
    if cell == "NA" {
        out.push_str("null");
    } else if is_number(cell) {
        out.push_str(cell);
    } else {
        out.push_str(&serde_json::Value::from(cell).to_string());
    }
}

/// Whether the text is a number just as JSON writes it, without an exponent (`9E` is an airline).
fn is_number(cell: &str) -> bool {
    let unsigned = cell.strip_prefix('-').unwrap_or(cell);
    let (whole, fraction) = unsigned.split_once('.').map_or((unsigned, None), |(w, f)| (w, Some(f)));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole) && (whole == "0" || !whole.starts_with('0')) && fraction.is_none_or(digits)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn chunks(source: &Source, from: u64, rows: usize) -> anyhow::Result<Vec<Chunk>> {
        let mut chunks = Vec::new();
        read_chunks(source, from, rows, |chunk| {
            chunks.push(chunk);
            true
        })?;
        Ok(chunks)
    }

    fn file(text: &str) -> (tempfile::TempDir, Source) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("flights.csv");
        File::create(&path).and_then(|mut file| file.write_all(text.as_bytes())).expect("written");
        (folder, Source::File(path))
    }

    #[test]
    fn cells_become_json() {
        let (_folder, source) = file(
            "carrier,delay,air,tail,time_hour\n9E,-3,1.5,NA,2013-01-01T10:00:00Z\nUA,NA,007,\"a\"\"b\",x\n",
        );
        let chunks = chunks(&source, 0, 10).expect("read");
        let flights: Vec<&Flight> = chunks.iter().flat_map(|chunk| &chunk.flights).collect();
        assert_eq!(flights[0].key, "9E");
        assert_eq!(
            flights[0].value,
            r#"{"carrier":"9E","delay":-3,"air":1.5,"tail":null,"time_hour":"2013-01-01T10:00:00Z"}"#
        );
        assert_eq!(
            flights[1].value,
            r#"{"carrier":"UA","delay":null,"air":"007","tail":"a\"b","time_hour":"x"}"#
        );
    }

    #[test]
    fn numbers_are_jsons() {
        for number in ["0", "-1", "12.50", "0.5"] {
            assert!(is_number(number), "{number}");
        }
        for text in ["", "-", "1.", ".5", "01", "1e5", "9E", "+1", "NaN", "1 "] {
            assert!(!is_number(text), "{text}");
        }
    }

    #[test]
    fn the_month_is_read_whole_from_any_row_on() {
        let all = chunks(&Source::BuiltIn, 0, 2000).expect("read");
        assert_eq!(all.iter().map(|chunk| chunk.flights.len()).sum::<usize>(), 27_004);
        let last = all.last().expect("a chunk");
        assert!(last.last && last.rows == 27_004);
        assert_eq!(all.iter().filter(|chunk| chunk.last).count(), 1);

        let rest = chunks(&Source::BuiltIn, 26_999, 2000).expect("read");
        assert_eq!(rest.len(), 1);
        assert_eq!(rest[0].flights.len(), 5);
        assert_eq!(rest[0].flights[4], last.flights[last.flights.len() - 1]);

        let none = chunks(&Source::BuiltIn, 27_004, 2000).expect("read");
        assert!(none.len() == 1 && none[0].last && none[0].flights.is_empty());
    }

    #[test]
    fn other_files_are_refused() {
        let (_folder, source) = file("a,b\n1,2\n");
        assert!(chunks(&source, 0, 1).expect_err("refused").to_string().contains("\"time_hour\""));
        let (_folder, source) = file("");
        assert!(chunks(&source, 0, 1).is_err());
    }

    #[test]
    fn inputs_are_told_apart() {
        let (folder, source) = file("carrier,time_hour\nUA,x\n");
        let first = source.identity().expect("an identity");
        assert_eq!(source.identity().expect("an identity"), first);
        std::fs::write(folder.path().join("flights.csv"), "carrier,time_hour\nAA,x\n").expect("written");
        assert_ne!(source.identity().expect("an identity"), first);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
