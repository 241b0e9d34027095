//! What a script says, statement by statement, before any name is looked up.

use sqlparser::ast::{DataType, Expr, Ident, Query};
use sqlparser::tokenizer::Location;

use super::create_function::CreateFunction;
use super::settings::Settings;
use super::shed::ShedClause;
use crate::functions::Functions;
use crate::plan::{Emit, Source, StateBound};

/// A script: tables, views, functions, and what is written into tables.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) tables: Vec<CreateTable>,
    pub(crate) views: Vec<CreateView>,
    pub(crate) inserts: Vec<Insert>,
    pub(crate) create_functions: Vec<CreateFunction>,
    /// What calls may mean, beside the built-in functions.
    pub(crate) functions: Functions,
    /// Of a query by itself: the tables it may read. Of a script there are none.
    pub(crate) given: Option<Vec<GivenTable>>,
    /// What it sets at its head.
    pub(crate) settings: Settings,
}

impl Script {
    /// Whether it has a statement that is not `SET`.
    pub(crate) fn is_begun(&self) -> bool {
        let Script { tables, views, inserts, create_functions, .. } = self;
        !(tables.is_empty() && views.is_empty() && inserts.is_empty() && create_functions.is_empty())
    }
}

/// A table that a query by itself may name.
#[derive(Debug)]
pub(crate) struct GivenTable {
    pub(crate) source: Source,
    /// Why its records are not the rows of a table, where they are not.
    pub(crate) refusal: Option<Refusal>,
}

/// Why a table cannot be asked, and what to do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) message: String,
    pub(crate) help: String,
}

/// `CREATE TABLE name (...) WITH (...) [SHED WHEN ...]`.
#[derive(Debug)]
pub(crate) struct CreateTable {
    pub(crate) name: Ident,
    pub(crate) columns: Vec<ColumnDefinition>,
    pub(crate) computed: Vec<ComputedColumn>,
    pub(crate) watermark: Option<Watermark>,
    pub(crate) primary_key: Option<PrimaryKey>,
    pub(crate) options: Vec<TableOption>,
    pub(crate) shed: Option<ShedClause>,
}

/// `name TYPE [NOT NULL] [METADATA [FROM 'name'] [VIRTUAL]]`.
#[derive(Debug)]
pub(crate) struct ColumnDefinition {
    pub(crate) name: Ident,
    pub(crate) data_type: DataType,
    pub(crate) data_type_at: Location,
    pub(crate) required: bool,
    /// Where it is, if it is not a field of the value.
    pub(crate) metadata: Option<Metadata>,
}

/// `METADATA [FROM 'name'] [VIRTUAL]`.
#[derive(Debug)]
pub(crate) struct Metadata {
    /// What of the record; without it the column's own name.
    pub(crate) name: Option<String>,
    pub(crate) at: Location,
    /// It is read, and never written.
    pub(crate) is_virtual: bool,
}

/// `name AS expression`.
#[derive(Debug)]
pub(crate) struct ComputedColumn {
    pub(crate) name: Ident,
    pub(crate) expression: Expr,
    pub(crate) expression_at: Location,
}

/// `PRIMARY KEY (columns) NOT ENFORCED`.
#[derive(Debug)]
pub(crate) struct PrimaryKey {
    pub(crate) columns: Vec<Ident>,
}

/// `CREATE VIEW name [(columns)] AS query`.
#[derive(Debug)]
pub(crate) struct CreateView {
    pub(crate) name: Ident,
    pub(crate) columns: Vec<Ident>,
    pub(crate) query: Box<Query>,
}

/// `WATERMARK FOR column AS expression`.
#[derive(Debug)]
pub(crate) struct Watermark {
    pub(crate) column: Ident,
    pub(crate) expression: Expr,
    pub(crate) expression_at: Location,
}

/// `'key' = 'value'`.
#[derive(Debug)]
pub(crate) struct TableOption {
    pub(crate) key: String,
    pub(crate) key_at: Location,
    pub(crate) value: String,
    pub(crate) value_at: Location,
}

/// `INSERT INTO table [(columns)] query [EMIT ...] [UNBOUNDED | STATE TTL interval]`.
#[derive(Debug)]
pub(crate) struct Insert {
    pub(crate) at: Location,
    pub(crate) table: Ident,
    pub(crate) columns: Vec<Ident>,
    pub(crate) query: Box<Query>,
    /// When windows give their rows, and where the script says so.
    pub(crate) emit: Option<(Emit, Location)>,
    /// What keeps state from growing for ever, where the query alone does not.
    pub(crate) bound: Option<StateBound>,
}
