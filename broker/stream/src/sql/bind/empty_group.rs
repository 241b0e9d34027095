//! The group of all rows where there are none: `SELECT COUNT(*) FROM t` is one row, whatever `t` holds.
//!
//! A pipeline gives no row before the first record, for nothing has happened yet. A query has an answer at once. So its
//! group has one row more, of which no aggregate takes anything.

use super::graph::GraphBuilder;
use super::literal::literal;
use crate::plan::{Aggregate, ErrorPolicy, Format, Operator, RecordFormat, Source};
use crate::value::{DataType, Value};

/// The topic with the one record that the row is made of. No topic of a broker can have this name.
pub(crate) const EMPTY_ROW_TOPIC: &str = "an empty row";

/// The rows of a node, and one row more. Each aggregate reads them with a filter, which leaves that row out.
pub(super) fn beside(graph: &mut GraphBuilder, input: usize, aggregates: &[Aggregate]) -> usize {
    let columns = graph.columns(input).to_vec();
    let changes = graph.changes(input);
    let is_filter = |column| aggregates.iter().any(|aggregate| aggregate.filter == Some(column));
    let outputs = columns.iter().enumerate().map(|(index, column)| match is_filter(index) {
        true => literal(Value::Boolean(false), DataType::Boolean),
        false => literal(Value::Null, column.data_type),
    });
    let operator = Operator::Map { filter: None, outputs: outputs.collect() };
    let source = graph.source(source());
    let row = graph.node(operator, vec![source], columns.clone(), false);
    graph.node(Operator::Union, vec![input, row], columns, changes)
}

fn source() -> Source {
    Source {
        table: EMPTY_ROW_TOPIC.to_owned(),
        topic: EMPTY_ROW_TOPIC.to_owned(),
        format: RecordFormat::of_value(Format::json()),
        key_fields: 0,
        columns: Vec::new(),
        computed: Vec::new(),
        event_time: None,
        upsert_key: Vec::new(),
        on_error: ErrorPolicy::Fail,
        late_topic: None,
        idle_ms: None,
        max_ahead_ms: None,
        shed: None,
    }
}
