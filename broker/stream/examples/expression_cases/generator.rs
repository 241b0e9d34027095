//! Chance that can be repeated, and random values.

use logmill_stream::{DataType, Decimal, Value};

/// Makes rows and expressions; the same ones from the same state.
pub(crate) struct Generator {
    state: u64,
    /// The last expression has parts that need not be computed.
    pub(crate) lazy: bool,
    /// The last expression's floats may differ in their last digits.
    pub(crate) approximate: bool,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed, lazy: false, approximate: false }
    }

    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1) as u64) as i64
    }

    pub(crate) fn integer_value(&mut self) -> i64 {
        match self.below(8) {
            0 => self.pick(&[0, 1, -1, i64::MAX, i64::MIN, i64::MAX - 1, 1 << 53]),
            1 => self.next() as i64,
            2 => self.between(-5_000_000_000, 5_000_000_000),
            _ => self.between(-20, 20),
        }
    }

    pub(crate) fn float_value(&mut self) -> f64 {
        match self.below(8) {
            0 => self.pick(&[0.0, -0.0, 1e300, -1e300, 1e-300, 0.1, 9.007_199_254_740_993e15]),
            1 => f64::from_bits(self.next()),
            _ => self.between(-4_000, 4_000) as f64 / 16.0,
        }
    }

    pub(crate) fn text_value(&mut self) -> String {
        const PARTS: [&str; 16] =
            ["a", "b", "A", "Z", "é", "É", "1", "2", " ", "-", ",", "_", "%", "ab", "x1", "日"];
        let length = self.below(7);
        (0..length).map(|_| self.pick(&PARTS)).collect()
    }

    pub(crate) fn instant_value(&mut self) -> i64 {
        let day = 86_400_000;
        match self.below(6) {
            0 => self.pick(&[
                0,
                -1,
                951_782_400_000,
                1_356_998_399_999,
                -2_208_988_800_000,
                253_402_300_799_999,
            ]),
            1 => self.between(-62_135_596_800_000, 253_402_300_799_999),
            2 => self.between(-40_000, 60_000) * day,
            _ => self.between(0, 2_000_000_000_000),
        }
    }

    pub(crate) fn json_value(&mut self, depth: u32) -> String {
        match self.below(if depth == 0 { 5 } else { 8 }) {
            0 => "null".to_owned(),
            1 => self.pick(&["true", "false"]).to_owned(),
            2 => self.between(-1_000, 1_000).to_string(),
            3 => format!("\"{}\"", self.text_value()),
            4 => format!("{}.{}", self.between(-9, 9), self.between(1, 9)),
            5 | 6 => {
                let names = ["a", "b", "c"];
                let count = self.below(4) as usize;
                let members: Vec<String> = names[..count]
                    .iter()
                    .map(|name| format!("\"{name}\": {}", self.json_value(depth - 1)))
                    .collect();
                format!("{{{}}}", members.join(", "))
            }
            _ => {
                let count = self.below(4);
                let elements: Vec<String> = (0..count).map(|_| self.json_value(depth - 1)).collect();
                format!("[{}]", elements.join(", "))
            }
        }
    }

    /// A value of a column.
    pub(crate) fn value(&mut self, name: &str, data_type: DataType) -> Value {
        if self.below(7) == 0 {
            return Value::Null;
        }
        match data_type {
            DataType::Boolean => Value::Boolean(self.below(2) == 0),
            DataType::BigInt if name == "i1" => Value::BigInt(self.between(-9, 9)),
            DataType::BigInt => Value::BigInt(self.integer_value()),
            DataType::Double => loop {
                let value = self.float_value();
                if value.is_finite() {
                    break Value::Double(value);
                }
            },
            DataType::Decimal { precision, scale } => {
                let bound = 10_i64.pow(u32::from(precision));
                let unscaled = match self.below(4) {
                    0 => self.pick(&[0, 1, -1, 5, -5, 50, bound - 1, 1 - bound]),
                    1 => self.between(1 - bound, bound - 1),
                    _ => self.between(-100_000, 100_000),
                };
                Value::Decimal(Decimal { unscaled: i128::from(unscaled), scale })
            }
            DataType::String if name == "j1" => Value::String(self.json_value(2)),
            DataType::String => Value::String(self.text_value()),
            DataType::Timestamp => Value::Timestamp(self.instant_value()),
            DataType::Date => Value::Date(self.instant_value().div_euclid(86_400_000) as i32),
            DataType::Bytes => unreachable!("no column has bytes"),
        }
    }
}
