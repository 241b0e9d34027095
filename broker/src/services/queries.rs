//! Queries over gRPC.

use logmill_rpc::v1::{
    QueryColumn, QueryRequest, QueryResponse, QueryRow, QueryValue, queries_server, query_value,
};
use logmill_stream::{QueryError, Value};
use tonic::{Request, Response, Status};

use super::admit;
use super::pipelines::status;
use crate::pipelines::{AskError, Pipelines};
use crate::security::{Access, Call};

/// Answers questions to what pipelines have written.
pub(crate) struct QueryService {
    pub(crate) pipelines: Pipelines,
    pub(crate) access: Access,
}

#[tonic::async_trait]
impl queries_server::Queries for QueryService {
    async fn query(&self, request: Request<QueryRequest>) -> Result<Response<QueryResponse>, Status> {
        admit(&self.access, Call::Query)?;
        let QueryRequest { sql, pipeline } = request.into_inner();
        let pipeline = Some(pipeline.as_str()).filter(|pipeline| !pipeline.is_empty());
        let answer = self.pipelines.query(&sql, pipeline).await.map_err(refused)?;
        let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let columns = answer.rows.columns.into_iter();
        let row = |row: Vec<Value>| QueryRow { values: row.into_iter().map(value).collect() };
        Ok(Response::new(QueryResponse {
            pipeline: answer.pipeline,
            epoch: signed(answer.epoch),
            columns: columns
                .map(|(name, data_type)| QueryColumn { name, r#type: data_type.to_string() })
                .collect(),
            rows: answer.rows.rows.into_iter().map(row).collect(),
            scanned: signed(answer.rows.scanned),
        }))
    }
}

fn value(value: Value) -> QueryValue {
    use query_value::Value as Is;
    let value = match value {
        Value::Null => None,
        Value::Boolean(truth) => Some(Is::Truth(truth)),
        Value::BigInt(integer) => Some(Is::Integer(integer)),
        Value::Double(float) => Some(Is::Float(float)),
        Value::String(text) => Some(Is::Text(text)),
        Value::Bytes(bytes) => Some(Is::Bytes(bytes)),
        Value::Decimal(decimal) => Some(Is::Text(decimal.to_string())),
        Value::Timestamp(ms) => Some(Is::Text(logmill_stream::time::Iso(ms).to_string())),
        Value::Date(days) => Some(Is::Text(logmill_stream::time::IsoDate(days).to_string())),
    };
    QueryValue { value }
}

fn refused(error: AskError) -> Status {
    let text = error.to_string();
    match error {
        AskError::Sql { .. } => Status::invalid_argument(text),
        AskError::Pipeline(error) => status(error),
        AskError::Query(QueryError::Failed(_) | QueryError::Damaged { .. } | QueryError::NoRow { .. }) => {
            Status::failed_precondition(text)
        }
        AskError::Query(_) | AskError::Large => Status::resource_exhausted(text),
        AskError::Read(_) => Status::unavailable(text),
    }
}
