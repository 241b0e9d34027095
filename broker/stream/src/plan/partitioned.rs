//! Whether a pipeline can run on each partition number by itself, without moving rows between partitions.
//!
//! Records of one key lie in one partition. Where every operator that keeps state brings together rows of one record key
//! only, partition N of the output depends on nothing but the partitions N of the sources. That is followed through the
//! graph: which columns of a node hold the fields of the record's key, untouched.

use std::collections::BTreeSet;

use thiserror::Error;

use super::{
    Column, ColumnOrigin, Expression, Format, Join, JoinKind, JoinSide, Node, Operator, Plan, Source,
};
use crate::value::DataType;

/// Why a pipeline needs all partitions in one place.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{operator} brings together rows of several partitions: {reason}")]
pub struct NeedsExchange {
    /// The operator, by what it does and the columns it goes by.
    pub operator: String,
    /// What would have to be otherwise.
    pub reason: String,
}

/// How the records that a node's rows come from are spread over partitions.
#[derive(Debug, Clone)]
struct KeyColumns<'p> {
    /// The source of which the key is.
    source: &'p Source,
    /// For each field of the key the columns that hold it.
    fields: Vec<BTreeSet<usize>>,
}

/// What a node knows of it; or why it knows nothing.
type Known<'p> = Result<KeyColumns<'p>, String>;

impl Plan {
    /// That each partition number can be run by itself: no operator with state brings together rows of different record
    /// keys. It is taken for granted that records of equal keys are in partitions of equal number, in all topics
    /// of the plan.
    ///
    /// # Errors
    /// The first operator that needs more.
    pub fn check_partitioned(&self) -> Result<(), NeedsExchange> {
        let mut known: Vec<Known<'_>> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let inputs: Vec<&Known<'_>> = node.inputs.iter().map(|input| &known[*input]).collect();
            let found = self
                .follow(node, &inputs)
                .map_err(|reason| NeedsExchange { operator: self.name_of(node), reason })?;
            known.push(found);
        }
        Ok(())
    }

    /// What is known of a node's rows; an error when its state needs more than is known of its inputs.
    fn follow<'p>(&'p self, node: &'p Node, inputs: &[&Known<'p>]) -> Result<Known<'p>, String> {
        let through = |moved: &dyn Fn(usize) -> Vec<usize>| match inputs[0] {
            Ok(keys) => Ok(keys.moved(moved)),
            Err(reason) => Err(reason.clone()),
        };
        let same = |column: usize| vec![column];
        Ok(match &node.operator {
            Operator::Source { source } => of_source(&self.sources[*source]),
            Operator::Map { outputs, .. } => through(&|column| {
                let holds = |output: &Expression| matches!(output, Expression::Column { index, .. } if *index == column);
                (0..outputs.len()).filter(|at| holds(&outputs[*at])).collect()
            }),
            // Of fewer rows, contenders let more of them go on.
            Operator::AssignWindows { .. } | Operator::ProcessingTime | Operator::Contenders(_) => {
                through(&same)
            }
            Operator::Union => union(inputs),
            Operator::WindowAggregate(window) => {
                covered(inputs[0], &window.keys)?;
                through(&|column| places(&window.keys, column, 2))
            }
            Operator::SessionAggregate(session) => {
                covered(inputs[0], &session.keys)?;
                through(&|column| places(&session.keys, column, 2))
            }
            Operator::GroupAggregate(grouping) => {
                covered(inputs[0], &grouping.keys)?;
                through(&|column| places(&grouping.keys, column, 0))
            }
            Operator::Rank(rank) => {
                covered(inputs[0], &rank.partition)?;
                through(&same)
            }
            Operator::Over(over) => {
                covered(inputs[0], &over.partition)?;
                through(&same)
            }
            Operator::Upsert(upsert) => {
                covered(inputs[0], &upsert.keys)?;
                through(&|column| places(&upsert.columns, column, 0))
            }
            Operator::Collect(_) => {
                return Err("a whole table is written from one place, as one".to_owned());
            }
            Operator::Join(Join { left, right, kind, .. }) => join(inputs, left, right, *kind)?,
            Operator::TemporalJoin(temporal) => {
                let kind = if temporal.keeps_left { JoinKind::Left } else { JoinKind::Inner };
                join(inputs, &temporal.left, &temporal.right, kind)?
            }
        })
    }

    fn name_of(&self, node: &Node) -> String {
        let columns = |input: usize, columns: &[usize]| {
            let of = &self.nodes[node.inputs[input]].columns;
            let names: Vec<&str> = columns.iter().map(|column| of[*column].name.as_str()).collect();
            match names.is_empty() {
                true => "nothing".to_owned(),
                false => format!("`{}`", names.join("`, `")),
            }
        };
        match &node.operator {
            Operator::WindowAggregate(window) => {
                format!("the aggregate of windows by {}", columns(0, &window.keys))
            }
            Operator::SessionAggregate(session) => {
                format!("the aggregate of sessions by {}", columns(0, &session.keys))
            }
            Operator::GroupAggregate(grouping) => format!("the aggregate by {}", columns(0, &grouping.keys)),
            Operator::Rank(rank) => format!("the ranking by {}", columns(0, &rank.partition)),
            Operator::Over(over) => format!("the OVER by {}", columns(0, &over.partition)),
            Operator::Upsert(upsert) => format!("the table by {}", columns(0, &upsert.keys)),
            Operator::Collect(_) => "the whole table".to_owned(),
            Operator::Join(Join { left, .. }) => format!("the join by {}", columns(0, &left.keys)),
            Operator::TemporalJoin(temporal) => format!("the join by {}", columns(0, &temporal.left.keys)),
            Operator::Source { .. }
            | Operator::Map { .. }
            | Operator::AssignWindows { .. }
            | Operator::Union
            | Operator::Contenders(_)
            | Operator::ProcessingTime => "a part of it".to_owned(),
        }
    }
}

impl<'p> KeyColumns<'p> {
    fn moved(&self, moved: &dyn Fn(usize) -> Vec<usize>) -> KeyColumns<'p> {
        let fields =
            self.fields.iter().map(|field| field.iter().flat_map(|at| moved(*at)).collect()).collect();
        KeyColumns { source: self.source, fields }
    }

    /// What makes equal keys equal bytes: the key's format, the types of its fields, and their names where these are written, too.
    fn written(&self) -> (Option<&'p Format>, Vec<(DataType, Option<&'p str>)>) {
        let format = &self.source.format;
        let has_names = matches!(format.key, Some(Format::Json(_) | Format::Avro(_) | Format::Protobuf(_)));
        let key = self.source.columns.iter().filter(|column| column.origin == ColumnOrigin::Key);
        let field =
            |column: &'p Column| (column.data_type, has_names.then(|| format.key_field(&column.name)));
        (format.key.as_ref(), key.map(field).collect())
    }
}

fn of_source(source: &Source) -> Known<'_> {
    let key = || source.columns.iter().enumerate().filter(|(_, column)| column.origin == ColumnOrigin::Key);
    let table = &source.table;
    if source.key_fields == 0 {
        return Err(format!("`{table}` declares no column of the record's key ('key.fields')"));
    }
    if let Some((_, column)) = key().find(|(_, column)| !column.required) {
        return Err(format!(
            "`{}` of `{table}` may be NULL, and records without a key are in any partition; declare it NOT NULL",
            column.name
        ));
    }
    let fields: Vec<BTreeSet<usize>> = key().map(|(index, _)| BTreeSet::from([index])).collect();
    if fields.len() != source.key_fields {
        return Err(format!("it does not go by all of the key's fields of `{table}`"));
    }
    Ok(KeyColumns { source, fields })
}

/// Where a column is among those that go on.
fn places(kept: &[usize], column: usize, before: usize) -> Vec<usize> {
    (0..kept.len()).filter(|at| kept[*at] == column).map(|at| at + before).collect()
}

/// That rows which agree in these columns have one record key.
fn covered(known: &Known<'_>, by: &[usize]) -> Result<(), String> {
    let keys = known.as_ref().map_err(String::clone)?;
    match keys.fields.iter().all(|field| by.iter().any(|column| field.contains(column))) {
        true => Ok(()),
        false => Err(whole_key(keys.source)),
    }
}

fn whole_key(source: &Source) -> String {
    let key = source.columns.iter().filter(|column| column.origin == ColumnOrigin::Key);
    let names: Vec<&str> = key.map(|column| column.name.as_str()).collect();
    format!("it has to go by the whole key of the records of `{}`, `{}`", source.table, names.join("`, `"))
}

fn same_keys(left: &KeyColumns<'_>, right: &KeyColumns<'_>) -> Result<(), String> {
    match left.written() == right.written() {
        true => Ok(()),
        false => Err(format!(
            "the keys of `{}` and `{}` are written in different ways, so that equal ones may be in different partitions",
            left.source.table, right.source.table
        )),
    }
}

fn union<'p>(inputs: &[&Known<'p>]) -> Known<'p> {
    let mut of_all = inputs[0].clone()?;
    for input in &inputs[1..] {
        let keys = input.as_ref().map_err(String::clone)?;
        same_keys(&of_all, keys)?;
        for (field, other) in of_all.fields.iter_mut().zip(&keys.fields) {
            field.retain(|column| other.contains(column));
        }
    }
    Ok(of_all)
}

/// A join sees only pairs within a partition: its keys must be the record keys of both sides, field by field.
fn join<'p>(
    inputs: &[&Known<'p>],
    left: &JoinSide,
    right: &JoinSide,
    kind: JoinKind,
) -> Result<Known<'p>, String> {
    let (of_left, of_right) = (inputs[0].as_ref(), inputs[1].as_ref());
    let (of_left, of_right) = (of_left.map_err(String::clone)?, of_right.map_err(String::clone)?);
    same_keys(of_left, of_right)?;
    let mut pairs = of_left.fields.iter().zip(&of_right.fields);
    let meets = |(of_left, of_right): (&BTreeSet<usize>, &BTreeSet<usize>)| {
        left.keys
            .iter()
            .zip(&right.keys)
            .any(|(at_left, at_right)| of_left.contains(at_left) && of_right.contains(at_right))
    };
    if !pairs.all(meets) {
        return Err(whole_key(of_left.source));
    }
    let width = left.columns.len();
    let from_left = of_left.moved(&|column| places(&left.columns, column, 0));
    let from_right = of_right.moved(&|column| places(&right.columns, column, width));
    // A side that may be missing has NULL where the key would be.
    Ok(match kind {
        JoinKind::Left => Ok(from_left),
        JoinKind::Right => Ok(from_right),
        JoinKind::Full => Err("a FULL JOIN before it leaves either side's key NULL".to_owned()),
        JoinKind::Inner => {
            let both = from_left.fields.into_iter().zip(from_right.fields);
            let fields = both.map(|(left, right)| left.into_iter().chain(right).collect()).collect();
            Ok(KeyColumns { source: of_left.source, fields })
        }
    })
}
