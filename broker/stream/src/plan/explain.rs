//! The plan as text: what `EXPLAIN` shows, and what golden files hold.

use std::fmt::{self, Display, Write};

use super::{
    Aggregate, AggregateFunction, Body, Column, ColumnOrigin, Compression, ErrorPolicy, Expression, Plan,
    Sink, SinkErrorPolicy, Source, WindowAggregate,
};

impl Plan {
    /// The plan as indented text, the sink first and each line below its consumer.
    pub fn explain(&self) -> String {
        let mut out = String::new();
        self.write(&mut out).expect("writing to a string cannot fail");
        out
    }

    /// The plan's identity: the same for the same plan on every machine and in every release that does not change
    /// what the plan means.
    pub fn fingerprint(&self) -> u32 {
        crc32fast::hash(self.explain().as_bytes())
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        self.sink.write(out)?;
        let mut depth = 1;
        match &self.body {
            Body::Project { outputs } => {
                line(out, depth, &format!("Project {}", outputs_text(outputs, &self.sink)))?;
                depth += 1;
            }
            Body::Window(window) => window.write(out, &mut depth, &self.sink)?,
        }
        if let Some(filter) = &self.filter {
            line(out, depth, &format!("Filter {filter}"))?;
            depth += 1;
        }
        self.source.write(out, depth)
    }
}

fn line(out: &mut String, depth: usize, text: &str) -> fmt::Result {
    writeln!(out, "{:indent$}{text}", "", indent = depth * 2)
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

fn outputs_text(outputs: &[Expression], sink: &Sink) -> String {
    let text: Vec<String> = outputs
        .iter()
        .zip(&sink.columns)
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
        writeln!(
            out,
            "Sink {} topic={} format={} compression={compression} on-error={on_error} [{}]",
            self.table,
            self.topic,
            self.format,
            columns_text(&self.columns)
        )
    }
}

impl Source {
    fn write(&self, out: &mut String, depth: usize) -> fmt::Result {
        let on_error = match &self.on_error {
            ErrorPolicy::Fail => "fail".to_owned(),
            ErrorPolicy::Skip => "skip".to_owned(),
            ErrorPolicy::DeadLetter { topic } => format!("dlq({topic})"),
        };
        let watermark = match &self.event_time {
            Some(time) => {
                format!(" watermark={}-{}ms", self.columns[time.column].name, time.delay_ms)
            }
            None => String::new(),
        };
        let text = format!(
            "Source {} topic={} format={} on-error={on_error}{watermark} [{}]",
            self.table,
            self.topic,
            self.format,
            columns_text(&self.columns)
        );
        line(out, depth, &text)
    }
}

impl WindowAggregate {
    fn write(&self, out: &mut String, depth: &mut usize, sink: &Sink) -> fmt::Result {
        line(out, *depth, &format!("Project {}", outputs_text(&self.outputs, sink)))?;
        if let Some(having) = &self.having {
            *depth += 1;
            line(out, *depth, &format!("Having {having}"))?;
        }
        *depth += 1;
        let keys: Vec<String> = self
            .keys
            .iter()
            .map(|key| match &key.expression {
                Expression::Column { name, .. } if *name == key.name => name.clone(),
                expression => format!("{expression} AS {}", key.name),
            })
            .collect();
        let aggregates: Vec<String> = self.aggregates.iter().map(Aggregate::to_string).collect();
        let text = format!(
            "TumbleAggregate size={}ms keys=[{}] aggregates=[{}] emit=on-close",
            self.size_ms,
            keys.join(", "),
            aggregates.join(", ")
        );
        line(out, *depth, &text)?;
        *depth += 1;
        Ok(())
    }
}

impl Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.function {
            AggregateFunction::Count => "COUNT",
            AggregateFunction::Sum => "SUM",
            AggregateFunction::Min => "MIN",
            AggregateFunction::Max => "MAX",
            AggregateFunction::Average => "AVG",
        };
        match &self.argument {
            Some(argument) => write!(f, "{name}({argument})")?,
            None => write!(f, "{name}(*)")?,
        }
        match &self.filter {
            Some(filter) => write!(f, " FILTER (WHERE {filter})"),
            None => Ok(()),
        }
    }
}
