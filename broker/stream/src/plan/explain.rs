//! The plan as text: for people, and as what its identity is made of, which golden files hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use super::span::Span;

use super::{
    Column, ColumnOrigin, Compression, Emit, ErrorPolicy, Expression, Frame, FrameUnit, JoinBound, JoinSide,
    Node, Operator, OverKind, OverMode, Plan, RankMode, Sink, SinkErrorPolicy, SortKey, Source, StateBound,
    Versions, WindowKind, WindowOf,
};

impl Plan {
    /// The plan as indented text, each sink first and each line below its consumer. A node that several read is
    /// written where it is read first, and named where it is read again. Its identity is made of this text.
    pub fn explain(&self) -> String {
        self.text(shared(self), Style::Exact)
    }

    /// The same for people: times as `5 s` and `1 h`, functions of the user's own by their names, and a topic that is read
    /// in several places once. An operator that keeps state has its number, as [`ExplainedOperator::id`](super::ExplainedOperator::id)
    /// and [`OperatorState::id`](super::OperatorState::id) say it; `verbose` shows the identities of operators and functions.
    pub fn outline(&self, verbose: bool) -> String {
        let inputs = self.nodes.iter().flat_map(|node| node.inputs.iter().copied());
        let mut numbered = read_twice(self, inputs.chain(self.sinks.iter().map(|sink| sink.input)), true);
        numbered.extend(self.states().into_iter().map(|state| state.id));
        self.text(numbered, if verbose { Style::Verbose } else { Style::Readable })
    }

    fn text(&self, numbered: Vec<usize>, style: Style) -> String {
        let mut out = String::new();
        let numbers = numbered.into_iter().map(|index| (index, Some(index))).collect();
        let identities = if style == Style::Verbose { self.identities() } else { Vec::new() };
        let mut text = Text {
            plan: self,
            written: BTreeSet::new(),
            numbers,
            whole: true,
            style,
            identities,
            out: &mut out,
        };
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
            let mut text = Text {
                plan: self,
                written: BTreeSet::new(),
                numbers,
                whole: false,
                style: Style::Exact,
                identities: Vec::new(),
                out: &mut out,
            };
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
    read_twice(plan, inputs.chain(plan.sinks.iter().map(|sink| sink.input)), false)
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
    read_twice(plan, readers.flat_map(|(node, _)| node.inputs.iter().copied()), false)
}

/// The nodes that are among those read more than once, of sources those only that are wanted.
fn read_twice(plan: &Plan, read: impl Iterator<Item = usize>, sources: bool) -> Vec<usize> {
    let mut readers = vec![0; plan.nodes.len()];
    read.for_each(|input| readers[input] += 1);
    let is_source = |index: usize| matches!(plan.nodes[index].operator, Operator::Source { .. });
    (0..plan.nodes.len()).filter(|index| readers[*index] > 1 && (sources || !is_source(*index))).collect()
}

/// For whom a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// For the plan's identity: it says everything, and never changes for the same plan.
    Exact,
    /// For people.
    Readable,
    /// For people, with identities.
    Verbose,
}

impl Style {
    pub(super) fn span(self, ms: i64) -> Span {
        Span { ms, exact: self == Style::Exact }
    }
}

struct Text<'p> {
    plan: &'p Plan,
    written: BTreeSet<usize>,
    /// The nodes that are read more than once, with the number that each is called by. A node without a number gets
    /// one when it is written: the next, so that the text says nothing of nodes elsewhere.
    numbers: BTreeMap<usize, Option<usize>>,
    /// Whether to write what changes nothing of what a node computes of its rows.
    whole: bool,
    style: Style,
    /// Those of all nodes, where they are shown.
    identities: Vec<u32>,
    out: &'p mut String,
}

impl Text<'_> {
    fn plan(&mut self) -> fmt::Result {
        for sink in &self.plan.sinks {
            self.line(0, &sink.text())?;
            self.node(sink.input, 1)?;
        }
        Ok(())
    }

    fn line(&mut self, depth: usize, text: &str) -> fmt::Result {
        let shown = match self.style {
            Style::Readable => without_identities(text),
            Style::Exact | Style::Verbose => text.to_owned(),
        };
        writeln!(self.out, "{:indent$}{shown}", "", indent = depth * 2)
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
        let identity = self.identities.get(index).map(|identity| format!("[{identity:08x}] "));
        let name = name + &identity.unwrap_or_default();
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
                let mut shed =
                    shed.map_or_else(String::new, |shed| format!(" shed={}", shed.text(self.style)));
                let ahead = source.max_ahead_ms.filter(|_| self.whole);
                shed.extend(ahead.map(|ms| format!(" max-ahead={}", self.style.span(ms))));
                self.line(depth, &format!("{name}{}{shed}", source.text(self.style)))?;
            }
            (operator, _) => {
                let columns: Vec<&[Column]> = inputs.iter().map(|input| &*input.columns).collect();
                self.line(
                    depth,
                    &format!("{name}{}{changes}", operator_text(operator, &columns, self.style)),
                )?;
            }
        }
        node.inputs.iter().try_for_each(|input| self.node(*input, depth + 1))
    }
}

impl Plan {
    /// What one node does, in a line.
    pub(super) fn node_text(&self, index: usize, style: Style) -> String {
        let node = &self.nodes[index];
        let inputs: Vec<&[Column]> = node.inputs.iter().map(|input| &*self.nodes[*input].columns).collect();
        let text = match &node.operator {
            Operator::Source { source } => self.sources[*source].text(style),
            Operator::Map { filter, outputs } => {
                let filter = filter.as_ref().map_or_else(String::new, |filter| format!(", Filter {filter}"));
                format!("Project {}{filter}", outputs_text(outputs, &node.columns))
            }
            operator => operator_text(operator, &inputs, style),
        };
        match style {
            Style::Readable => without_identities(&text),
            Style::Exact | Style::Verbose => text,
        }
    }
}

/// An operator with the names of its inputs' columns.
fn operator_text(operator: &Operator, inputs: &[&[Column]], style: Style) -> String {
    let name = |index: usize| inputs[0][index].name.as_str();
    let names = |indices: &[usize]| indices.iter().map(|index| name(*index)).collect::<Vec<_>>().join(", ");
    let texts = |aggregates: &[super::Aggregate]| {
        aggregates.iter().map(|aggregate| aggregate.text.as_str()).collect::<Vec<_>>().join(", ")
    };
    match operator {
        Operator::Source { .. } => "Source".to_owned(),
        Operator::Map { .. } => "Project".to_owned(),
        Operator::AssignWindows { kind, time } => format!("Windows {} of {}", kind.text(style), name(*time)),
        Operator::Union => "Union".to_owned(),
        Operator::Contenders(contenders) => format!(
            "Contenders {} as {} of {} {}={} from its end",
            name(contenders.value),
            if contenders.greatest { "MAX" } else { "MIN" },
            contenders.windows.text(style),
            name(contenders.time),
            range_text(contenders.least_ms, contenders.most_ms, style)
        ),
        Operator::ProcessingTime => "ProcessingTime".to_owned(),
        Operator::WindowAggregate(window) => {
            let of = match window.window {
                WindowOf::Assigned { kind, time } => format!("{} of {}", kind.text(style), name(time)),
                WindowOf::Given { start, end } => format!("given {}..{}", name(start), name(end)),
            };
            format!(
                "WindowAggregate {of} keys=[{}] aggregates=[{}] emit={}",
                names(&window.keys),
                texts(&window.aggregates),
                window.emit.text(style)
            )
        }
        Operator::SessionAggregate(session) => format!(
            "SessionAggregate gap={} of {} keys=[{}] aggregates=[{}] emit={}",
            style.span(session.gap_ms),
            name(session.time),
            names(&session.keys),
            texts(&session.aggregates),
            session.emit.text(style)
        ),
        Operator::GroupAggregate(grouping) => format!(
            "GroupAggregate keys=[{}] aggregates=[{}] {}",
            names(&grouping.keys),
            texts(&grouping.aggregates),
            grouping.bound.text(style)
        ),
        Operator::Rank(rank) => {
            let mode = match rank.mode {
                RankMode::Window { end } => format!("emit=on-close of {}", name(end)),
                RankMode::First { time, bound } => {
                    format!("emit=first by {} {}", name(time), bound.text(style))
                }
                RankMode::Arrival { bound } => format!("emit=first that comes {}", bound.text(style)),
                RankMode::Changes { bound } => bound.text(style),
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
                OverMode::OnTime { bound: Some(bound), .. } => format!("emit=on-time {}", bound.text(style)),
                OverMode::Window { end } => format!("emit=on-close of {}", name(end)),
                OverMode::Changes { bound } => bound.text(style),
            };
            let functions: Vec<String> = over
                .functions
                .iter()
                .map(|function| match function.kind {
                    OverKind::Aggregate { frame, .. } => format!("{} {}", function.text, frame.text(style)),
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
                    ("IntervalJoin", format!(" {times}={}", range_text(least_ms, most_ms, style)))
                }
                JoinBound::State(bound) => ("Join", format!(" {}", bound.text(style))),
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

/// From one time to another.
fn range_text(least_ms: i64, most_ms: i64, style: Style) -> String {
    match style {
        Style::Exact => format!("{least_ms}..{most_ms}ms"),
        Style::Readable | Style::Verbose => format!("{}..{}", style.span(least_ms), style.span(most_ms)),
    }
}

impl Frame {
    fn text(&self, style: Style) -> String {
        let length = |length: u64| match self.unit {
            FrameUnit::Rows => length.to_string(),
            FrameUnit::Range => style.span(i64::try_from(length).unwrap_or(i64::MAX)).to_string(),
        };
        let unit = match self.unit {
            FrameUnit::Rows => "rows",
            FrameUnit::Range => "range",
        };
        let preceding = match self.preceding {
            None => "all".to_owned(),
            Some(0) => "current".to_owned(),
            Some(count) => format!("-{}", length(count)),
        };
        let following = match self.following {
            None => "all".to_owned(),
            Some(0) => "current".to_owned(),
            Some(count) => format!("+{}", length(count)),
        };
        format!("{unit} {preceding}..{following}")
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
    fn text(&self) -> String {
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
        format!(
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
    fn text(&self, style: Style) -> String {
        let on_error = match &self.on_error {
            ErrorPolicy::Fail => "fail".to_owned(),
            ErrorPolicy::Skip => "skip".to_owned(),
            ErrorPolicy::DeadLetter { topic } => format!("dlq({topic})"),
        };
        let row = self.row();
        let watermark = match &self.event_time {
            Some(time) => {
                let minus = if style == Style::Exact { "-" } else { " - " };
                format!(" watermark={}{minus}{}", row[time.column].name, style.span(time.delay_ms))
            }
            None => String::new(),
        };
        let mut late = self.late_topic.as_ref().map_or(String::new(), |topic| format!(" late={topic}"));
        late.extend(self.idle_ms.map(|ms| format!(" idle={}", style.span(ms))));
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

impl WindowKind {
    pub(super) fn text(&self, style: Style) -> String {
        let (lengths, offset) = match self {
            WindowKind::Tumble { size_ms, offset_ms } => {
                (format!("TUMBLE({}", style.span(*size_ms)), *offset_ms)
            }
            WindowKind::Hop { size_ms, slide_ms, offset_ms } => {
                (format!("HOP({}, {}", style.span(*slide_ms), style.span(*size_ms)), *offset_ms)
            }
            WindowKind::Cumulate { size_ms, step_ms, offset_ms } => {
                (format!("CUMULATE({}, {}", style.span(*step_ms), style.span(*size_ms)), *offset_ms)
            }
        };
        match offset {
            0 => format!("{lengths})"),
            offset => format!("{lengths}, offset {})", style.span(offset)),
        }
    }
}

impl Emit {
    fn text(&self, style: Style) -> String {
        match self {
            Emit::OnClose => "on-close".to_owned(),
            Emit::OnCloseAndLate { ms } => format!("on-close late={}", style.span(*ms)),
            Emit::Changes => "changes".to_owned(),
            Emit::AtOnce => "at-once".to_owned(),
        }
    }
}

impl StateBound {
    fn text(&self, style: Style) -> String {
        match self {
            StateBound::Unbounded => "UNBOUNDED".to_owned(),
            StateBound::TimeToLive { ms } => format!("ttl={}", style.span(*ms)),
        }
    }
}

/// A line without the identities that stand behind the names of functions of the user's own: `risk#1a2b3c4d(x)` is `risk(x)`.
fn without_identities(line: &str) -> String {
    const DIGITS: usize = 8;
    let mut out = String::with_capacity(line.len());
    let mut quoted = false;
    let mut rest = line;
    while let Some(next) = rest.chars().next() {
        quoted ^= next == '\'';
        let behind = &rest[next.len_utf8()..];
        let is_identity = |text: &str| {
            let bytes = text.as_bytes();
            bytes.get(DIGITS) == Some(&b'(') && bytes[..DIGITS].iter().all(u8::is_ascii_hexdigit)
        };
        match next {
            '#' if !quoted && is_identity(behind) => rest = &behind[DIGITS..],
            next => {
                out.push(next);
                rest = behind;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_of_functions_are_left_out_and_texts_stay() {
        let line = "Filter (risk#00c0ffee(a, x#00c0ffee) > '#00c0ffee(' || twice#12345678(b))";
        assert_eq!(without_identities(line), "Filter (risk(a, x#00c0ffee) > '#00c0ffee(' || twice(b))");
        assert_eq!(without_identities("#3 Union of ü#1"), "#3 Union of ü#1");
    }
}
