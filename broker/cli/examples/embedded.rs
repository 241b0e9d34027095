//! A broker, a pipeline built in Rust and a function in Rust, in one program.
//!
//! ```sh
//! cargo run --release --example embedded
//! ```
//!
//! Kafka clients reach the broker while the program runs; here the program is its own client.

#![allow(clippy::print_stdout)]

use std::time::Duration;

use anyhow::Context as _;
use logmill_broker::loggers::Loggers;
use logmill_broker::node::Node;
use logmill_broker::pipelines::build::{
    Argument, DataType, FunctionSignature, Functions, Script, Table, Value, call, col, count_all, max, source,
};
use logmill_client::{Client, InputEnd, PipelineState, ProducerRecord};
use logmill_config::{Config, HostPort};

/// How far two places on the earth are apart along a great circle, in kilometres.
fn distance(arguments: &[Argument<'_>]) -> Result<Value, String> {
    let [Argument::Double(lat1), Argument::Double(lon1), Argument::Double(lat2), Argument::Double(lon2)] =
        arguments
    else {
        return Err(format!("not two places: {arguments:?}"));
    };
    let (lat1, lat2, half) = (lat1.to_radians(), lat2.to_radians(), (lon2 - lon1).to_radians() / 2.0);
    let chord = ((lat2 - lat1) / 2.0).sin().powi(2) + lat1.cos() * lat2.cos() * half.sin().powi(2);
    Ok(Value::Double(2.0 * 6371.0 * chord.sqrt().asin()))
}

/// Of each ship the number of legs and the longest, as a table that changes with every leg.
fn script() -> Script {
    use DataType::{BigInt, Double, String};
    let legs = ["from_lat", "from_lon", "to_lat", "to_lon"]
        .into_iter()
        .fold(Table::new("legs", "legs").required("ship", String), |table, name| table.column(name, Double));
    let longest = Table::new("longest", "longest")
        .column("ship", String)
        .column("legs", BigInt)
        .column("km", Double)
        .primary_key(["ship"]);
    let km = call("distance", [col("from_lat"), col("from_lon"), col("to_lat"), col("to_lon")]);
    source(legs)
        .group_by([col("ship")])
        .select([col("ship").into(), count_all().named("legs"), max(km).named("km")])
        .unbounded()
        .sink(longest)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let data = std::env::temp_dir().join(format!("logmill-embedded-{}", std::process::id()));
    let ran = run(&data).await;
    std::fs::remove_dir_all(&data).context("cannot remove what the broker kept")?;
    ran
}

async fn run(data: &std::path::Path) -> anyhow::Result<()> {
    let mut functions = Functions::new();
    let signature = FunctionSignature::new("distance", &[DataType::Double; 4], DataType::Double);
    functions.scalar(signature, distance)?;
    let listen = HostPort { host: "127.0.0.1".to_owned(), port: 0 };
    let config = Config { data_dir: data.to_owned(), listen, ..Config::default() };
    let loggers = Loggers::fixed(&config.telemetry.level);
    let node = Node::start_embedded(config, loggers, functions).await?;

    let client = Client::connect_within(&node.local_addr().to_string(), Duration::from_secs(10)).await?;
    client.admin().create_topic(&logmill_client::NewTopic::new("legs")).await?;
    let producer = client.producer().build().await?;
    for (ship, leg) in [
        ("Fram", [59.9, 10.7, 55.7, 12.6]),
        ("Fram", [55.7, 12.6, 64.1, -21.9]),
        ("Gjoa", [69.6, 18.9, 37.8, -122.4]),
    ] {
        let [a, b, c, d] = leg;
        let value = format!(r#"{{"ship":"{ship}","from_lat":{a},"from_lon":{b},"to_lat":{c},"to_lon":{d}}}"#);
        producer.send(ProducerRecord::to("legs").key(ship).value(value)).await?;
    }
    producer.close().await?;

    let pipelines = client.pipelines();
    pipelines.run("longest", &script().sql(), Some(InputEnd::Now)).await?;
    while pipelines.describe("longest").await?.state() == PipelineState::Running {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let answer = pipelines.query("SELECT ship, legs, ROUND(km) AS km FROM longest ORDER BY km", None).await?;
    for row in &answer.rows {
        let values: Vec<String> = row.values.iter().map(|value| format!("{:?}", value.value)).collect();
        println!("{}", values.join("  "));
    }
    node.shutdown().await?;
    Ok(())
}
