//! The wire format: tags, and what stands behind them.

/// Groups inside one another that are passed over.
const MAX_DEPTH: u32 = 64;

/// How a field's value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WireType {
    Varint,
    Fixed64,
    Length,
    Fixed32,
    StartGroup,
    EndGroup,
}

/// Reads a message from its beginning.
#[derive(Debug, Clone)]
pub(super) struct Reader<'r> {
    input: &'r [u8],
    at: usize,
}

impl<'r> Reader<'r> {
    pub(super) fn new(input: &'r [u8]) -> Self {
        Self { input, at: 0 }
    }

    pub(super) fn wrong(&self, what: impl std::fmt::Display) -> String {
        format!("at byte {} of the message: {what}", self.at)
    }

    /// The next field's number and how it is written; `None` at the end.
    pub(super) fn tag(&mut self) -> Result<Option<(u32, WireType)>, String> {
        if self.at == self.input.len() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| (1..1 << 29).contains(number));
        let wire_type = match tag & 7 {
            0 => Some(WireType::Varint),
            1 => Some(WireType::Fixed64),
            2 => Some(WireType::Length),
            3 => Some(WireType::StartGroup),
            4 => Some(WireType::EndGroup),
            5 => Some(WireType::Fixed32),
            _ => None,
        };
        match (number, wire_type) {
            (Some(number), Some(wire_type)) => Ok(Some((number, wire_type))),
            _ => Err(self.wrong(format_args!("{tag} in place of a field's tag"))),
        }
    }

    pub(super) fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0_u64;
        for (index, byte) in self.input[self.at..].iter().take(10).enumerate() {
            // The tenth byte has one bit left to give.
            if index == 9 && *byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7F) << (7 * index);
            if byte & 0x80 == 0 {
                self.at += index + 1;
                return Ok(value);
            }
        }
        Err(self.wrong("a number that does not end, or has more than 64 bits"))
    }

    pub(super) fn fixed<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(self.take(N)?.try_into().expect("as many were taken"))
    }

    /// The bytes behind a length, which are there.
    pub(super) fn bytes(&mut self) -> Result<&'r [u8], String> {
        let length = self.varint()?;
        match usize::try_from(length) {
            Ok(length) => self.take(length),
            Err(_) => Err(self.wrong(format_args!("a length of {length}"))),
        }
    }

    fn take(&mut self, length: usize) -> Result<&'r [u8], String> {
        match self.input[self.at..].get(..length) {
            Some(bytes) => {
                self.at += length;
                Ok(bytes)
            }
            None => {
                let left = self.input.len() - self.at;
                Err(self.wrong(format_args!("{length} bytes are wanted, {left} are left")))
            }
        }
    }

    /// Passes over a value whose tag was read.
    pub(super) fn skip(&mut self, number: u32, wire_type: WireType) -> Result<(), String> {
        self.skip_at(number, wire_type, 0)
    }

    fn skip_at(&mut self, number: u32, wire_type: WireType, depth: u32) -> Result<(), String> {
        match wire_type {
            WireType::Varint => self.varint().map(|_| ()),
            WireType::Fixed64 => self.take(8).map(|_| ()),
            WireType::Length => self.bytes().map(|_| ()),
            WireType::Fixed32 => self.take(4).map(|_| ()),
            WireType::StartGroup if depth == MAX_DEPTH => {
                Err(self.wrong("too many groups inside one another"))
            }
            WireType::StartGroup => loop {
                match self.tag()? {
                    Some((end, WireType::EndGroup)) if end == number => return Ok(()),
                    Some((inner, wire_type)) => self.skip_at(inner, wire_type, depth + 1)?,
                    None => return Err(self.wrong(format_args!("group {number} does not end"))),
                }
            },
            WireType::EndGroup => Err(self.wrong(format_args!("group {number} ends, and did not begin"))),
        }
    }
}

pub(super) fn write_tag(out: &mut Vec<u8>, number: u32, wire_type: WireType) {
    let code = match wire_type {
        WireType::Varint => 0,
        WireType::Fixed64 => 1,
        WireType::Length => 2,
        WireType::StartGroup => 3,
        WireType::EndGroup => 4,
        WireType::Fixed32 => 5,
    };
    write_varint(out, u64::from(number) << 3 | code);
}

pub(super) fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7F {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(super) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(super) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}
