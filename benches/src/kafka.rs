//! Apache Kafka as a server under test: one node in KRaft mode, out of a directory with its jars.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

/// What a Kafka broker gets by its own start script, and a heap that neither grows nor shrinks.
const OPTIONS: [&str; 8] = [
    "-server",
    "-Xms1g",
    "-Xmx1g",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
];

/// Makes a new data directory below `home`, and gives the command that serves it.
///
/// `flush`: everything is flushed before it is acknowledged, the logs of its coordinators and transactions' markers too.
pub(crate) fn command(jars: &Path, home: &Path, address: SocketAddr, flush: bool) -> anyhow::Result<Command> {
    let flushes = if flush { "log.flush.interval.messages=1\n" } else { "" };
    let controller = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let properties = home.join("server.properties");
    let data = home.join("data");
    fs::write(
        &properties,
        format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.bootstrap.servers={controller}\n\
             listeners=PLAINTEXT://{address},CONTROLLER://{controller}\n\
             advertised.listeners=PLAINTEXT://{address},CONTROLLER://{controller}\n\
             controller.listener.names=CONTROLLER\n\
             inter.broker.listener.name=PLAINTEXT\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
             log.dirs={}\n\
             offsets.topic.replication.factor=1\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             {flushes}",
            data.display()
        ),
    )?;
    let java = |main: &str| {
        let mut command = Command::new("java");
        command.args(OPTIONS).arg("-cp").arg(format!("{}/*", jars.display())).arg(main);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    };
    let formatted = java("kafka.tools.StorageTool")
        .args(["format", "--standalone", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c"])
        .arg(&properties)
        .output()
        .context("cannot run java")?;
    ensure!(
        formatted.status.success(),
        "Kafka does not format its directory: {}",
        String::from_utf8_lossy(&formatted.stderr)
    );
    let mut command = java("kafka.Kafka");
    command.arg(&properties).current_dir(home);
    Ok(command)
}
