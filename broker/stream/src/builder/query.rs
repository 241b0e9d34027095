//! Queries: one step after the other, each over the rows of what is before it.

use std::time::Duration;

use super::{Expr, Item, Script, Table, interval, quoted};

/// A query over the rows of tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    tables: Vec<Table>,
    /// Queries that have to have a name, inner ones first.
    views: Vec<(String, String)>,
    from: Origin,
    condition: Option<Expr>,
    groups: Vec<Expr>,
    having: Option<Expr>,
    /// What is selected; everything before it is said.
    items: Option<Vec<Item>>,
    distinct: bool,
    /// Clauses of the statement the query ends in.
    emit: Option<String>,
    bound: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    /// A table or a view, and what it is called here.
    Named { name: String, alias: Option<String> },
    /// Something that stands alone in `FROM`, called something.
    Single { sql: String, alias: Option<String> },
    /// Joined tables.
    Joined(String),
}

/// The rows of a table.
pub fn source(table: Table) -> Query {
    let name = table.name.clone();
    Query::over(vec![table], Vec::new(), Origin::Named { name, alias: None })
}

impl Query {
    fn over(tables: Vec<Table>, views: Vec<(String, String)>, from: Origin) -> Query {
        Query {
            tables,
            views,
            from,
            condition: None,
            groups: Vec::new(),
            having: None,
            items: None,
            distinct: false,
            emit: None,
            bound: None,
        }
    }

    /// The same tables and clauses around other rows.
    fn with(self, from: Origin) -> Query {
        let Query { tables, views, emit, bound, .. } = self;
        Query { emit, bound, ..Query::over(tables, views, from) }
    }

    /// Whether nothing is done with the rows of `FROM` yet.
    fn is_plain(&self) -> bool {
        self.condition.is_none() && self.groups.is_empty() && self.items.is_none() && !self.distinct
    }

    /// The query in `FROM` of another one, where its steps come behind.
    fn nested(self) -> Query {
        let sql = format!("({})", self.sql());
        let alias = Some(self.name());
        self.with(Origin::Single { sql, alias })
    }

    /// A name for the query that depends on what it says only.
    fn name(&self) -> String {
        format!("q{:08x}", crc32fast::hash(self.sql().as_bytes()))
    }

    fn in_from(&self) -> String {
        let named = |sql: &str, alias: &Option<String>| match alias {
            Some(alias) => format!("{sql} AS {}", quoted(alias)),
            None => sql.to_owned(),
        };
        match &self.from {
            Origin::Named { name, alias } => named(&quoted(name), alias),
            Origin::Single { sql, alias } => named(sql, alias),
            Origin::Joined(sql) => sql.clone(),
        }
    }

    pub(super) fn sql(&self) -> String {
        let list = |list: &[Expr]| list.iter().map(Expr::to_string).collect::<Vec<_>>().join(", ");
        let items = self.items.as_ref().map_or_else(
            || "*".to_owned(),
            |items| {
                let item = |item: &Item| match &item.name {
                    Some(name) => format!("{} AS {}", item.expression, quoted(name)),
                    None => item.expression.to_string(),
                };
                items.iter().map(item).collect::<Vec<_>>().join(", ")
            },
        );
        let distinct = if self.distinct { "DISTINCT " } else { "" };
        let mut sql = format!("SELECT {distinct}{items} FROM {}", self.in_from());
        if let Some(condition) = &self.condition {
            sql.push_str(&format!(" WHERE {condition}"));
        }
        if !self.groups.is_empty() {
            sql.push_str(&format!(" GROUP BY {}", list(&self.groups)));
        }
        if let Some(having) = &self.having {
            sql.push_str(&format!(" HAVING {having}"));
        }
        sql
    }

    /// The rows under a name, which [`column_of`](super::column_of) takes.
    pub fn called(self, name: &str) -> Query {
        let alias = Some(name.to_owned());
        match (self.is_plain(), self.from.clone()) {
            (true, Origin::Named { name, .. }) => self.with(Origin::Named { name, alias }),
            (true, Origin::Single { sql, .. }) => self.with(Origin::Single { sql, alias }),
            _ => {
                let sql = format!("({})", self.sql());
                self.with(Origin::Single { sql, alias })
            }
        }
    }

    /// Only rows for which this is true; of groups, those for which it is.
    pub fn filter(self, condition: Expr) -> Query {
        if self.items.is_some() || self.distinct {
            return self.nested().filter(condition);
        }
        let both = |before: Option<Expr>| match before {
            Some(before) => before.and(condition),
            None => condition,
        };
        match self.groups.is_empty() {
            true => Query { condition: Some(both(self.condition)), ..self },
            false => Query { having: Some(both(self.having)), ..self },
        }
    }

    /// The windows of one length: `window_start`, `window_end` and `window_time` are columns behind the others.
    pub fn tumble(self, time: &str, size: Duration) -> Query {
        self.windowed("TUMBLE", time, &[size])
    }

    /// The windows of one length of which one begins after each slide.
    pub fn hop(self, time: &str, slide: Duration, size: Duration) -> Query {
        self.windowed("HOP", time, &[slide, size])
    }

    /// The windows that grow by a step up to a length.
    pub fn cumulate(self, time: &str, step: Duration, size: Duration) -> Query {
        self.windowed("CUMULATE", time, &[step, size])
    }

    fn windowed(self, function: &str, time: &str, lengths: &[Duration]) -> Query {
        let (query, table) = self.named();
        let lengths: Vec<String> = lengths.iter().copied().map(interval).collect();
        let sql = format!(
            "TABLE({function}(TABLE {}, DESCRIPTOR({}), {}))",
            quoted(&table),
            quoted(time),
            lengths.join(", ")
        );
        query.with(Origin::Single { sql, alias: None })
    }

    /// Sessions: windows that end when rows of the same columns have not come for so long.
    pub fn session<'n>(
        self,
        partition: impl IntoIterator<Item = &'n str>,
        time: &str,
        gap: Duration,
    ) -> Query {
        let (query, table) = self.named();
        let partition: Vec<String> = partition.into_iter().map(quoted).collect();
        let by = match partition.is_empty() {
            true => String::new(),
            false => format!(" PARTITION BY {}", partition.join(", ")),
        };
        let sql = format!(
            "TABLE(SESSION(TABLE {}{by}, DESCRIPTOR({}), {}))",
            quoted(&table),
            quoted(time),
            interval(gap)
        );
        query.with(Origin::Single { sql, alias: None })
    }

    /// The query as something that has a name: a table, or a view that is made for it.
    fn named(mut self) -> (Query, String) {
        if let (true, Origin::Named { name, alias: None }) = (self.is_plain(), &self.from) {
            let name = name.clone();
            return (self, name);
        }
        let view = (self.name(), self.sql());
        let name = view.0.clone();
        if !self.views.contains(&view) {
            self.views.push(view);
        }
        (self, name)
    }

    /// The groups of equal values. What is selected of them are the same expressions, and aggregates.
    pub fn group_by(self, keys: impl IntoIterator<Item = Expr>) -> Query {
        let query = if self.items.is_some() || !self.groups.is_empty() { self.nested() } else { self };
        Query { groups: keys.into_iter().collect(), ..query }
    }

    /// What the rows consist of.
    pub fn select(self, items: impl IntoIterator<Item = Item>) -> Query {
        let query = if self.items.is_some() { self.nested() } else { self };
        Query { items: Some(items.into_iter().collect()), ..query }
    }

    /// Each row once.
    pub fn distinct(self) -> Query {
        Query { distinct: true, ..self }
    }

    /// The pairs of rows for which this is true.
    pub fn join(self, right: Query, on: Expr) -> Query {
        self.joined("JOIN", right, on)
    }

    /// The same, and the rows of this query that are in no pair.
    pub fn left_join(self, right: Query, on: Expr) -> Query {
        self.joined("LEFT JOIN", right, on)
    }

    /// The same, and the rows of the other query that are in no pair.
    pub fn right_join(self, right: Query, on: Expr) -> Query {
        self.joined("RIGHT JOIN", right, on)
    }

    /// The same, and the rows of both queries that are in no pair.
    pub fn full_join(self, right: Query, on: Expr) -> Query {
        self.joined("FULL JOIN", right, on)
    }

    fn joined(self, kind: &str, right: Query, on: Expr) -> Query {
        let left = if self.is_plain() { self } else { self.nested() };
        let alone = right.is_plain() && !matches!(right.from, Origin::Joined(_));
        let right = if alone { right } else { right.nested() };
        let sql = format!("{} {kind} {} ON {on}", left.in_from(), right.in_from());
        left.beside(right).with(Origin::Joined(sql))
    }

    /// Each row with the one that a table with a primary key had at a time, `NULL`s where it had none.
    pub fn left_join_as_of(self, table: Table, time: Expr, on: Expr) -> Query {
        self.with_versions("LEFT JOIN", table, time, on)
    }

    /// Each row with the one that a table with a primary key had at a time, where it had one.
    pub fn join_as_of(self, table: Table, time: Expr, on: Expr) -> Query {
        self.with_versions("JOIN", table, time, on)
    }

    fn with_versions(self, kind: &str, table: Table, time: Expr, on: Expr) -> Query {
        let left = if self.is_plain() { self } else { self.nested() };
        let name = quoted(&table.name);
        let sql = format!("{} {kind} {name} FOR SYSTEM_TIME AS OF {time} ON {on}", left.in_from());
        left.beside(source(table)).with(Origin::Joined(sql))
    }

    /// The rows of both.
    pub fn union_all(self, other: Query) -> Query {
        let sql = format!("({} UNION ALL {})", self.sql(), other.sql());
        let alias = Some(format!("q{:08x}", crc32fast::hash(sql.as_bytes())));
        self.beside(other).with(Origin::Single { sql, alias })
    }

    /// With the tables and views of another query.
    fn beside(mut self, other: Query) -> Query {
        for table in other.tables {
            if !self.tables.contains(&table) {
                self.tables.push(table);
            }
        }
        for view in other.views {
            if !self.views.contains(&view) {
                self.views.push(view);
            }
        }
        self
    }

    /// The rows of windows are given whenever they change, and not only when the windows close.
    pub fn emit_changes(self) -> Query {
        Query { emit: Some("EMIT CHANGES".to_owned()), ..self }
    }

    /// The rows of windows are given when these close, and again when late rows change them for so long.
    pub fn allowing_lateness(self, late: Duration) -> Query {
        Query { emit: Some(format!("EMIT ON CLOSE ALLOWING LATENESS {}", interval(late))), ..self }
    }

    /// State may grow for ever.
    pub fn unbounded(self) -> Query {
        Query { bound: Some("UNBOUNDED".to_owned()), ..self }
    }

    /// State that was not touched for so long is forgotten.
    pub fn state_ttl(self, time: Duration) -> Query {
        Query { bound: Some(format!("STATE TTL {}", interval(time))), ..self }
    }

    /// Writes the rows into a table.
    pub fn sink(self, table: Table) -> Script {
        let mut insert = format!("INSERT INTO {}\n{}", quoted(&table.name), self.sql());
        for clause in self.emit.iter().chain(&self.bound) {
            insert.push('\n');
            insert.push_str(clause);
        }
        insert.push_str(";\n");
        let mut script = Script::default();
        for table in self.tables.into_iter().chain([table]) {
            script.add_table(table);
        }
        self.views.into_iter().for_each(|view| script.add_view(view));
        script.add_insert(insert);
        script
    }
}
