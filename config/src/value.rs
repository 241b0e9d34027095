//! The kinds of value a key can have, and how each is written.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A value as one of the sources gives it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Raw<'a> {
    Text(&'a str),
    Integer(i64),
    Boolean(bool),
    /// A TOML kind no key has (float, date, array, table).
    Other(&'a str),
}

impl fmt::Display for Raw<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Boolean(flag) => write!(f, "{flag}"),
            Self::Other(kind) => write!(f, "a value of TOML kind {kind}"),
        }
    }
}

/// A kind of value. `Raw::Text` comes from a TOML string, from the environment and from flags alike.
pub(crate) trait Value: Sized {
    /// What to write, with an example.
    const EXPECTED: &'static str;
    fn read(raw: Raw<'_>) -> Option<Self>;
    /// The value as TOML.
    fn to_toml(&self) -> String;
}

/// An amount of memory or disk, written with its unit: `"64 MiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl ByteSize {
    /// So many bytes.
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// So many KiB (1024 bytes).
    pub const fn kib(count: u64) -> Self {
        Self(count << 10)
    }

    /// So many MiB (1024² bytes).
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    /// So many GiB (1024³ bytes).
    pub const fn gib(count: u64) -> Self {
        Self(count << 30)
    }

    /// The amount in bytes.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The amount in bytes, for what is held in memory. A value beyond the address space is the address space.
    pub fn in_memory(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = SIZE_UNITS.iter().find(|(_, factor)| self.0 != 0 && self.0.is_multiple_of(*factor));
        let (unit, factor) = exact.copied().unwrap_or(("B", 1));
        write!(f, "{} {unit}", self.0 / factor)
    }
}

impl Value for ByteSize {
    const EXPECTED: &'static str = "a size with its unit (B, KiB, MiB, GiB, TiB), such as \"64 MiB\"";

    fn read(raw: Raw<'_>) -> Option<Self> {
        let Raw::Text(text) = raw else { return None };
        let (number, unit) = number_and_unit(text)?;
        let (_, factor) = SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
        number.checked_mul(*factor).map(Self)
    }

    fn to_toml(&self) -> String {
        format!("\"{self}\"")
    }
}

const TIME_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)];

impl Value for Duration {
    const EXPECTED: &'static str = "a time with its unit (ms, s, min, h, d), such as \"250 ms\"";

    fn read(raw: Raw<'_>) -> Option<Self> {
        let Raw::Text(text) = raw else { return None };
        let (number, unit) = number_and_unit(text)?;
        let (_, factor) = TIME_UNITS.iter().find(|(name, _)| *name == unit)?;
        number.checked_mul(*factor).filter(|millis| i64::try_from(*millis).is_ok()).map(Self::from_millis)
    }

    fn to_toml(&self) -> String {
        let millis = u64::try_from(self.as_millis()).unwrap_or(u64::MAX);
        let exact = TIME_UNITS.iter().find(|(_, factor)| millis != 0 && millis.is_multiple_of(*factor));
        let (unit, factor) = exact.copied().unwrap_or(("ms", 1));
        format!("\"{} {unit}\"", millis / factor)
    }
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '_')?;
    let number = text[..digits].replace('_', "").parse().ok()?;
    Some((number, text[digits..].trim()))
}

/// A host name or address and a port: `"127.0.0.1:9092"`, `"[::1]:9092"`, `"broker.example.org:9092"`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// Name or address, an IPv6 address without its brackets.
    pub host: String,
    /// The port; 0 lets the system choose when listening.
    pub port: u16,
}

impl HostPort {
    /// Reads `HOST:PORT`.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.trim().rsplit_once(':')?;
        let port = port.parse().ok()?;
        let bare = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']')?,
            None if host.contains(':') => return None,
            None => host,
        };
        let legal = !bare.is_empty() && !bare.contains(|c: char| c.is_whitespace() || c == '/' || c == '[');
        legal.then(|| Self { host: bare.to_owned(), port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Value for HostPort {
    const EXPECTED: &'static str = "an address with its port, such as \"127.0.0.1:9092\"";

    fn read(raw: Raw<'_>) -> Option<Self> {
        let Raw::Text(text) = raw else { return None };
        Self::parse(text)
    }

    fn to_toml(&self) -> String {
        format!("\"{self}\"")
    }
}

/// A value that may be absent: the empty string.
impl Value for Option<HostPort> {
    const EXPECTED: &'static str = "an address with its port, such as \"broker.example.org:9092\", or \"\"";

    fn read(raw: Raw<'_>) -> Option<Self> {
        match raw {
            Raw::Text("") => Some(None),
            _ => HostPort::read(raw).map(Some),
        }
    }

    fn to_toml(&self) -> String {
        self.as_ref().map_or_else(|| "\"\"".to_owned(), HostPort::to_toml)
    }
}

impl Value for PathBuf {
    const EXPECTED: &'static str = "a path, such as \"/var/lib/logmill\"";

    fn read(raw: Raw<'_>) -> Option<Self> {
        match raw {
            Raw::Text(text) if !text.is_empty() => Some(Self::from(text)),
            _ => None,
        }
    }

    fn to_toml(&self) -> String {
        format!("{:?}", self.display().to_string())
    }
}

impl Value for Option<PathBuf> {
    const EXPECTED: &'static str = "a path, such as \"/var/lib/logmill\", or \"\"";

    fn read(raw: Raw<'_>) -> Option<Self> {
        match raw {
            Raw::Text("") => Some(None),
            _ => PathBuf::read(raw).map(Some),
        }
    }

    fn to_toml(&self) -> String {
        self.as_ref().map_or_else(|| "\"\"".to_owned(), PathBuf::to_toml)
    }
}

impl Value for String {
    const EXPECTED: &'static str = "a text, such as \"info\"";

    fn read(raw: Raw<'_>) -> Option<Self> {
        match raw {
            Raw::Text(text) if !text.is_empty() => Some(text.to_owned()),
            _ => None,
        }
    }

    fn to_toml(&self) -> String {
        format!("{self:?}")
    }
}

impl Value for bool {
    const EXPECTED: &'static str = "true or false";

    fn read(raw: Raw<'_>) -> Option<Self> {
        match raw {
            Raw::Boolean(flag) => Some(flag),
            Raw::Text("true") => Some(true),
            Raw::Text("false") => Some(false),
            _ => None,
        }
    }

    fn to_toml(&self) -> String {
        self.to_string()
    }
}

impl Value for u32 {
    const EXPECTED: &'static str = "a whole number from 1 to 4294967295, such as 12";

    fn read(raw: Raw<'_>) -> Option<Self> {
        let number = match raw {
            Raw::Integer(number) => Self::try_from(number).ok()?,
            Raw::Text(text) => text.parse().ok()?,
            Raw::Boolean(_) | Raw::Other(_) => return None,
        };
        (number > 0).then_some(number)
    }

    fn to_toml(&self) -> String {
        self.to_string()
    }
}

/// A number, or none where the broker finds its own.
impl Value for Option<u32> {
    const EXPECTED: &'static str = "\"auto\" or a whole number from 1 to 4294967295, such as 12";

    fn read(raw: Raw<'_>) -> Option<Self> {
        match raw {
            Raw::Text("auto") => Some(None),
            _ => u32::read(raw).map(Some),
        }
    }

    fn to_toml(&self) -> String {
        self.map_or_else(|| "\"auto\"".to_owned(), |number| number.to_string())
    }
}

macro_rules! choice {
    ($(#[$doc:meta])+ $name:ident ($expected:literal) { $($(#[$variant_doc:meta])+ $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])+ $variant,)+ }

        impl $name {
            /// The word that stands for it in the file.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl Value for $name {
            const EXPECTED: &'static str = $expected;

            fn read(raw: Raw<'_>) -> Option<Self> {
                match raw { $(Raw::Text($text) => Some(Self::$variant),)+ _ => None }
            }

            fn to_toml(&self) -> String {
                format!("\"{}\"", self.as_str())
            }
        }
    };
}

choice! {
    /// What an acknowledgement promises.
    Durability ("\"disk\" or \"page-cache\"") {
        /// The bytes are on the device.
        Disk = "disk",
        /// The bytes are in the operating system's memory: they outlive the process, not the machine.
        PageCache = "page-cache",
    }
}

choice! {
    /// Whether the journal goes past the page cache.
    DirectIo ("\"auto\", \"on\" or \"off\"") {
        /// Where the file system has it.
        Auto = "auto",
        /// Always; a file system without it is an error at the start.
        On = "on",
        /// Never.
        Off = "off",
    }
}

choice! {
    /// How log lines are written.
    LogFormat ("\"text\" or \"json\"") {
        /// For people.
        Text = "text",
        /// One JSON object per line.
        Json = "json",
    }
}

choice! {
    /// How a group with members may change between the classic and the new protocol.
    GroupMigration ("\"bidirectional\", \"upgrade\", \"downgrade\" or \"disabled\"") {
        /// Both ways.
        Bidirectional = "bidirectional",
        /// Only to the new protocol.
        Upgrade = "upgrade",
        /// Only to the classic one.
        Downgrade = "downgrade",
        /// Not at all.
        Disabled = "disabled",
    }
}

choice! {
    /// A way to share partitions out among the members of a group.
    Assignor ("\"uniform\" or \"range\"") {
        /// As many partitions for each as for any other.
        Uniform = "uniform",
        /// Of each topic a range of neighbouring partitions for each.
        Range = "range",
    }
}

/// Assignors, the best first; each once, at least one: `"uniform,range"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignors(pub Vec<Assignor>);

impl fmt::Display for Assignors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.iter().map(|assignor| assignor.as_str()).collect();
        f.write_str(&names.join(","))
    }
}

impl Value for Assignors {
    const EXPECTED: &'static str = "assignors separated by commas, each once, such as \"uniform,range\"";

    fn read(raw: Raw<'_>) -> Option<Self> {
        let Raw::Text(text) = raw else { return None };
        let named = text.split(',').map(|name| Assignor::read(Raw::Text(name.trim())));
        let assignors = named.collect::<Option<Vec<_>>>()?;
        let repeated = (1..assignors.len()).any(|at| assignors[..at].contains(&assignors[at]));
        (!repeated).then_some(Self(assignors))
    }

    fn to_toml(&self) -> String {
        format!("\"{self}\"")
    }
}

/// Reads a size with its unit, as it is written in the file: `"64 MiB"`, `"2GiB"`.
pub fn parse_size(text: &str) -> Option<ByteSize> {
    ByteSize::read(Raw::Text(text))
}

/// Reads a time with its unit, as it is written in the file: `"250 ms"`, `"30s"`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    Duration::read(Raw::Text(text))
}
