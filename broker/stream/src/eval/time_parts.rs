//! Parts of an instant, in UTC.

use arrow_array::{Int64Array, TimestampMillisecondArray};

use crate::plan::TimeUnit;
use crate::time::Civil;

pub(super) fn extract(instants: &TimestampMillisecondArray, unit: TimeUnit) -> Int64Array {
    let part = |ms: i64| {
        let civil = Civil::from_millis(ms);
        let second_of_day = i64::from(civil.ms_of_day / 1000);
        match unit {
            TimeUnit::Year => civil.year,
            TimeUnit::Month => i64::from(civil.month),
            TimeUnit::Day => i64::from(civil.day),
            TimeUnit::Hour => second_of_day / 3600,
            TimeUnit::Minute => second_of_day / 60 % 60,
            TimeUnit::Second => second_of_day % 60,
        }
    };
    instants.unary(part)
}

pub(super) fn floor(instants: &TimestampMillisecondArray, unit: TimeUnit) -> TimestampMillisecondArray {
    instants.unary(|ms| Civil::from_millis(ms).floor(unit))
}
