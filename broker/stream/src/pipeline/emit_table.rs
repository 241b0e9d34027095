//! A whole table into records: one for each row, which say where the table begins and ends.

use super::emit::SinkWriter;
use super::errors::EpochError;
use super::progress::Counters;
use crate::rows::Rows;

impl SinkWriter<'_> {
    /// Writes the table as it is after an epoch: nothing where it has not changed, and one record without a row where it
    /// has become empty.
    pub(super) fn write_table(
        &mut self,
        chunks: &[Rows],
        epoch: u64,
        counters: &mut Counters,
        origin: &impl Fn(u64) -> Option<String>,
    ) -> Result<(), EpochError> {
        let Some(first) = chunks.iter().find(|rows| !rows.is_empty()) else { return Ok(()) };
        // How many there are must be known before the first is written.
        let mut places = Vec::new();
        for (chunk, rows) in chunks.iter().enumerate() {
            for row in (0..rows.len()).filter(|row| !rows.marks[*row].back) {
                if self.check(rows, row, counters, origin)? && self.can_write(rows, row, counters, origin)? {
                    places.push((chunk, row));
                }
            }
        }
        let number = |number: u64| number.to_string().into_bytes();
        let headers = |row: usize, rows: usize| {
            [
                ("logmill.epoch", number(epoch)),
                ("logmill.row", number(row as u64)),
                ("logmill.rows", number(rows as u64)),
            ]
        };
        for (index, (chunk, row)) in places.iter().enumerate() {
            self.own_headers = headers(index, places.len()).into();
            self.write_row(&chunks[*chunk], *row, counters, origin)?;
        }
        if places.is_empty() {
            let headers = headers(0, 0);
            let headers: Vec<(&[u8], Option<&[u8]>)> =
                headers.iter().map(|(name, value)| (name.as_bytes(), Some(value.as_slice()))).collect();
            self.writer.push(0, first.marks[0].timestamp, None, None, &headers);
            counters.written += 1;
        }
        Ok(())
    }

    /// Whether a row has a form as a record.
    fn can_write(
        &self,
        rows: &Rows,
        row: usize,
        counters: &mut Counters,
        origin: &impl Fn(u64) -> Option<String>,
    ) -> Result<bool, EpochError> {
        let (mut value, mut key) = (Vec::new(), Vec::new());
        let written = self.encoder.value(&rows.columns, row, &mut value);
        match written.and_then(|_| self.encoder.key(&rows.columns, row, &mut key)) {
            Ok(_) => Ok(true),
            Err(reason) => {
                let format = self.sink.format.to_string();
                self.refuse(rows, row, format, reason, counters, origin).map(|()| false)
            }
        }
    }
}
