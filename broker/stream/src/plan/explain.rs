//! The plan as text: what `EXPLAIN` shows, and what golden files hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use super::{
    Column, ColumnOrigin, Compression, Emit, ErrorPolicy, Expression, Frame, FrameUnit, JoinBound, JoinSide,
    Node, Operator, OverKind, OverMode, Plan, RankMode, Sink, SinkErrorPolicy, SortKey, Source, StateBound,
    Versions, WindowKind, WindowOf,
};

impl Plan {
    /// The plan as indented text, each sink first and each line below its consumer. A node that several read is
    /// written where it is read first, and named where it is read again.
    pub fn explain(&self) -> String {
        let mut out = String::new();
        let numbers = shared(self).into_iter().map(|index| (index, Some(index))).collect();
        let mut text = Text { plan: self, written: BTreeSet::new(), numbers, whole: true, out: &mut out };
        text.plan().expect("writing to a string cannot fail");
        out
    }

    /// The plan's identity: the same for the same plan on every machine and in every release that does not change
    /// what the plan means.
    pub fn fingerprint(&self) -> u32 {
        crc32fast::hash(self.explain().as_bytes())
    }

    /// The identity of each node: that of everything it computes, so that it stays the same when other parts of the
    /// plan change. No two nodes of a plan have the same.
    pub fn identities(&self) -> Vec<u32> {
        let mut identities: Vec<u32> = Vec::with_capacity(self.nodes.len());
        for index in 0..self.nodes.len() {
            let mut out = String::new();
            let numbers = shared_below(self, index).into_iter().map(|shared| (shared, None)).collect();
            let mut text =
                Text { plan: self, written: BTreeSet::new(), numbers, whole: false, out: &mut out };
            text.node(index, 0).expect("writing to a string cannot fail");
            let mut identity = crc32fast::hash(out.as_bytes());
            while identities.contains(&identity) {
                identity = identity.wrapping_add(1);
            }
            identities.push(identity);
        }
        identities
    }
}

/// The nodes that more than one node or sink reads, sources apart.
fn shared(plan: &Plan) -> Vec<usize> {
    let inputs = plan.nodes.iter().flat_map(|node| node.inputs.iter().copied());
    read_twice(plan, inputs.chain(plan.sinks.iter().map(|sink| sink.input)))
}

/// The nodes that more than one node reads of those a node is made of, sources apart.
fn shared_below(plan: &Plan, node: usize) -> Vec<usize> {
    let mut part_of = vec![false; node + 1];
    part_of[node] = true;
    for index in (0..=node).rev() {
        if part_of[index] {
            plan.nodes[index].inputs.iter().for_each(|input| part_of[*input] = true);
        }
    }
    let readers = plan.nodes[..=node].iter().zip(&part_of).filter(|(_, part_of)| **part_of);
    read_twice(plan, readers.flat_map(|(node, _)| node.inputs.iter().copied()))
}

/// The nodes that are among those read more than once, sources apart.
fn read_twice(plan: &Plan, read: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut readers = vec![0; plan.nodes.len()];
    read.for_each(|input| readers[input] += 1);
    let is_source = |index: usize| matches!(plan.nodes[index].operator, Operator::Source { .. });
    (0..plan.nodes.len()).filter(|index| readers[*index] > 1 && !is_source(*index)).collect()
}

struct Text<'p> {
    plan: &'p Plan,
    written: BTreeSet<usize>,
    /// The nodes that are read more than once, with the number that each is called by. A node without a number gets
    /// one when it is written: the next, so that the text says nothing of nodes elsewhere.
    numbers: BTreeMap<usize, Option<usize>>,
    /// Whether to write what changes nothing of what a node computes of its rows.
    whole: bool,
    out: &'p mut String,
}

impl Text<'_> {
    fn plan(&mut self) -> fmt::Result {
        for sink in &self.plan.sinks {
            sink.write(self.out)?;
            self.node(sink.input, 1)?;
        }
        Ok(())
    }

    fn line(&mut self, depth: usize, text: &str) -> fmt::Result {
        writeln!(self.out, "{:indent$}{text}", "", indent = depth * 2)
    }

    fn node(&mut self, index: usize, depth: usize) -> fmt::Result {
        let node = &self.plan.nodes[index];
        let next = self.numbers.keys().filter(|index| self.written.contains(*index)).count();
        let name = match self.numbers.get_mut(&index) {
            Some(number) => {
                let number = *number.get_or_insert(next);
                if self.written.contains(&index) {
                    return self.line(depth, &format!("#{number}, see above"));
                }
                format!("#{number} ")
            }
            None => String::new(),
        };
        self.written.insert(index);
        let inputs: Vec<&Node> = node.inputs.iter().map(|input| &self.plan.nodes[*input]).collect();
        let input = inputs.first();
        let changes = if node.changes { " changes" } else { "" };
        match (&node.operator, input) {
            (Operator::Map { filter, outputs }, Some(input)) => {
                let mut depth = depth;
                let passes_all = outputs.len() == input.columns.len()
                    && outputs.iter().enumerate().all(|(at, output)| {
                        matches!(output, Expression::Column { index, .. } if *index == at)
                            && node.columns[at].name == input.columns[at].name
                    });
                if !passes_all || filter.is_none() {
                    self.line(depth, &format!("{name}Project {}", outputs_text(outputs, &node.columns)))?;
                    depth += 1;
                }
                if let Some(filter) = filter {
                    self.line(depth, &format!("Filter {filter}"))?;
                    depth += 1;
                }
                return self.node(node.inputs[0], depth);
            }
            (Operator::Source { source }, _) => {
                let source = &self.plan.sources[*source];
                let shed = source.shed.as_ref().filter(|_| self.whole);
                let mut shed = shed.map_or_else(String::new, |shed| format!(" shed={shed}"));
                let ahead = source.max_ahead_ms.filter(|_| self.whole);
                shed.extend(ahead.map(|ms| format!(" max-ahead={ms}ms")));
                self.line(depth, &format!("{name}{}{shed}", source.text()))?;
            }
            (operator, _) => {
                let columns: Vec<&[Column]> = inputs.iter().map(|input| &*input.columns).collect();
                self.line(depth, &format!("{name}{}{changes}", operator_text(operator, &columns)))?;
            }
        }
        node.inputs.iter().try_for_each(|input| self.node(*input, depth + 1))
    }
}

/// An operator with the names of its inputs' columns.
fn operator_text(operator: &Operator, inputs: &[&[Column]]) -> String {
    let name = |index: usize| inputs[0][index].name.as_str();
    let names = |indices: &[usize]| indices.iter().map(|index| name(*index)).collect::<Vec<_>>().join(", ");
    let texts = |aggregates: &[super::Aggregate]| {
        aggregates.iter().map(|aggregate| aggregate.text.as_str()).collect::<Vec<_>>().join(", ")
    };
    match operator {
        Operator::Source { .. } => "Source".to_owned(),
        Operator::Map { .. } => "Project".to_owned(),
        Operator::AssignWindows { kind, time } => format!("Windows {kind} of {}", name(*time)),
        Operator::Union => "Union".to_owned(),
        Operator::Contenders(contenders) => format!(
            "Contenders {} as {} of {} {}={}..{}ms from its end",
            name(contenders.value),
            if contenders.greatest { "MAX" } else { "MIN" },
            contenders.windows,
            name(contenders.time),
            contenders.least_ms,
            contenders.most_ms
        ),
        Operator::ProcessingTime => "ProcessingTime".to_owned(),
        Operator::WindowAggregate(window) => {
            let of = match window.window {
                WindowOf::Assigned { kind, time } => format!("{kind} of {}", name(time)),
                WindowOf::Given { start, end } => format!("given {}..{}", name(start), name(end)),
            };
            format!(
                "WindowAggregate {of} keys=[{}] aggregates=[{}] emit={}",
                names(&window.keys),
                texts(&window.aggregates),
                window.emit
            )
        }
        Operator::SessionAggregate(session) => format!(
            "SessionAggregate gap={}ms of {} keys=[{}] aggregates=[{}] emit={}",
            session.gap_ms,
            name(session.time),
            names(&session.keys),
            texts(&session.aggregates),
            session.emit
        ),
        Operator::GroupAggregate(grouping) => format!(
            "GroupAggregate keys=[{}] aggregates=[{}] {}",
            names(&grouping.keys),
            texts(&grouping.aggregates),
            grouping.bound
        ),
        Operator::Rank(rank) => {
            let mode = match rank.mode {
                RankMode::Window { end } => format!("emit=on-close of {}", name(end)),
                RankMode::First { time, bound } => format!("emit=first by {} {bound}", name(time)),
                RankMode::Arrival { bound } => format!("emit=first that comes {bound}"),
                RankMode::Changes { bound } => bound.to_string(),
            };
            format!(
                "Rank {} <= {} partition=[{}] order=[{}] numbered={} {mode}",
                rank.function.name(),
                rank.limit,
                names(&rank.partition),
                order_text(&rank.order, inputs[0]),
                rank.numbered
            )
        }
        Operator::Over(over) => {
            let mode = match over.mode {
                OverMode::OnTime { bound: None, .. } => "emit=on-time".to_owned(),
                OverMode::OnTime { bound: Some(bound), .. } => format!("emit=on-time {bound}"),
                OverMode::Window { end } => format!("emit=on-close of {}", name(end)),
                OverMode::Changes { bound } => bound.to_string(),
            };
            let functions: Vec<String> = over
                .functions
                .iter()
                .map(|function| match function.kind {
                    OverKind::Aggregate { frame, .. } => format!("{} {frame}", function.text),
                    _ => function.text.clone(),
                })
                .collect();
            format!(
                "Over partition=[{}] order=[{}] functions=[{}] {mode}",
                names(&over.partition),
                order_text(&over.order, inputs[0]),
                functions.join(", ")
            )
        }
        Operator::Join(join) => {
            let (kind, bound) = match join.bound {
                JoinBound::Window { .. } => ("WindowJoin", String::new()),
                JoinBound::Interval { left, right, least_ms, most_ms } => {
                    let times = format!("{} - {}", name(left), inputs[1][right].name);
                    ("IntervalJoin", format!(" {times}={least_ms}..{most_ms}ms"))
                }
                JoinBound::State(bound) => ("Join", format!(" {bound}")),
            };
            let sides = sides_text([&join.left, &join.right], inputs, join.condition.as_ref());
            format!("{kind} {} {sides}{bound}", join.kind.name())
        }
        Operator::TemporalJoin(join) => {
            let (kind, times) = match join.versions {
                Versions::AsOf { left, right } => {
                    ("TemporalJoin", format!(" {} as of {}", inputs[1][right].name, name(left)))
                }
                Versions::Latest => ("LookupJoin", String::new()),
            };
            let sides = sides_text([&join.left, &join.right], inputs, join.condition.as_ref());
            format!("{kind} {} {sides}{times}", if join.keeps_left { "LEFT" } else { "INNER" })
        }
        Operator::Upsert(upsert) => format!("Upsert keys=[{}]", names(&upsert.keys)),
        Operator::Collect(collect) => format!("Collect order=[{}]", names(&collect.order)),
    }
}

fn order_text(order: &[SortKey], columns: &[Column]) -> String {
    let text = |key: &SortKey| {
        let direction = if key.descending { " DESC" } else { "" };
        let nulls = match (key.descending, key.nulls_first) {
            (false, false) => " NULLS LAST",
            (true, true) => " NULLS FIRST",
            _ => "",
        };
        format!("{}{direction}{nulls}", columns[key.column].name)
    };
    order.iter().map(text).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            FrameUnit::Rows => "",
            FrameUnit::Range => "ms",
        };
        f.write_str(match self.unit {
            FrameUnit::Rows => "rows ",
            FrameUnit::Range => "range ",
        })?;
        match self.preceding {
            None => f.write_str("all")?,
            Some(0) => f.write_str("current")?,
            Some(count) => write!(f, "-{count}{unit}")?,
        }
        match self.following {
            None => f.write_str("..all"),
            Some(0) => f.write_str("..current"),
            Some(count) => write!(f, "..+{count}{unit}"),
        }
    }
}

/// What makes two rows a pair, and what is left of both.
fn sides_text(sides: [&JoinSide; 2], inputs: &[&[Column]], condition: Option<&Expression>) -> String {
    let name = |side: usize, index: usize| inputs[side][index].name.as_str();
    let keys = sides[0].keys.iter().zip(&sides[1].keys);
    let keys: Vec<String> =
        keys.map(|(left, right)| format!("{} = {}", name(0, *left), name(1, *right))).collect();
    let columns = |side: usize| {
        sides[side].columns.iter().map(|column| name(side, *column)).collect::<Vec<_>>().join(", ")
    };
    let condition = condition.map_or_else(String::new, |condition| format!(" if={condition}"));
    format!("on=[{}]{condition} left=[{}] right=[{}]", keys.join(", "), columns(0), columns(1))
}

fn columns_text(columns: &[Column]) -> String {
    let text: Vec<String> = columns
        .iter()
        .map(|column| {
            let required = if column.required { " NOT NULL" } else { "" };
            let from = match &column.origin {
                ColumnOrigin::Value => String::new(),
                origin => format!(" FROM {origin}"),
            };
            format!("{} {}{required}{from}", column.name, column.data_type)
        })
        .collect();
    text.join(", ")
}

fn outputs_text(outputs: &[Expression], columns: &[Column]) -> String {
    let text: Vec<String> = outputs
        .iter()
        .zip(columns)
        .map(|(output, column)| match output {
            Expression::Column { name, .. } if *name == column.name => name.clone(),
            _ => format!("{output} AS {}", column.name),
        })
        .collect();
    text.join(", ")
}

impl Sink {
    fn write(&self, out: &mut String) -> fmt::Result {
        let compression = match self.compression {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        };
        let on_error = match self.on_error {
            SinkErrorPolicy::Fail => "fail",
            SinkErrorPolicy::Skip => "skip",
        };
        let key: Vec<&str> = self.key.iter().map(|key| key.name.as_str()).collect();
        writeln!(
            out,
            "Sink {} topic={} format={} output={} key=[{}] compression={compression} on-error={on_error} [{}]",
            self.table,
            self.topic,
            self.format,
            self.mode.name(),
            key.join(", "),
            columns_text(&self.columns)
        )
    }
}

impl Source {
    fn text(&self) -> String {
        let on_error = match &self.on_error {
            ErrorPolicy::Fail => "fail".to_owned(),
            ErrorPolicy::Skip => "skip".to_owned(),
            ErrorPolicy::DeadLetter { topic } => format!("dlq({topic})"),
        };
        let row = self.row();
        let watermark = match &self.event_time {
            Some(time) => format!(" watermark={}-{}ms", row[time.column].name, time.delay_ms),
            None => String::new(),
        };
        let mut late = self.late_topic.as_ref().map_or(String::new(), |topic| format!(" late={topic}"));
        late.extend(self.idle_ms.map(|ms| format!(" idle={ms}ms")));
        let computed: Vec<String> = self
            .computed
            .iter()
            .map(|computed| format!(", {} AS {}", computed.name, computed.expression))
            .collect();
        let keys: Vec<&str> = self.upsert_key.iter().map(|key| row[*key].name.as_str()).collect();
        let key = if keys.is_empty() { String::new() } else { format!(" key=[{}]", keys.join(", ")) };
        format!(
            "Source {} topic={} format={} on-error={on_error}{watermark}{late}{key} [{}{}]",
            self.table,
            self.topic,
            self.format,
            columns_text(&self.columns),
            computed.concat()
        )
    }
}

impl fmt::Display for WindowKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offset = match self {
            WindowKind::Tumble { size_ms, offset_ms } => {
                write!(f, "TUMBLE({size_ms}ms")?;
                offset_ms
            }
            WindowKind::Hop { size_ms, slide_ms, offset_ms } => {
                write!(f, "HOP({slide_ms}ms, {size_ms}ms")?;
                offset_ms
            }
            WindowKind::Cumulate { size_ms, step_ms, offset_ms } => {
                write!(f, "CUMULATE({step_ms}ms, {size_ms}ms")?;
                offset_ms
            }
        };
        match offset {
            0 => f.write_str(")"),
            offset => write!(f, ", offset {offset}ms)"),
        }
    }
}

impl fmt::Display for Emit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Emit::OnClose => f.write_str("on-close"),
            Emit::OnCloseAndLate { ms } => write!(f, "on-close late={ms}ms"),
            Emit::Changes => f.write_str("changes"),
            Emit::AtOnce => f.write_str("at-once"),
        }
    }
}

impl fmt::Display for StateBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateBound::Unbounded => f.write_str("UNBOUNDED"),
            StateBound::TimeToLive { ms } => write!(f, "ttl={ms}ms"),
        }
    }
}
