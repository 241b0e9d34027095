//! Engines that are programs of a Java machine.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail, ensure};

/// Enough for the state of every query here; the same for all.
const HEAP: [&str; 2] = ["-Xms1g", "-Xmx3g"];
/// How much of its log is shown of a program that ended.
const TAIL: usize = 4_000;

/// A running program; ended when dropped.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

/// Compiles a program against the jars of a directory, into `classes`.
pub(crate) fn compile(source: &str, jars: &Path, classes: &Path) -> anyhow::Result<()> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(source);
    let output = Command::new("javac")
        .args(["-nowarn", "-cp"])
        .arg(jars.join("*"))
        .arg("-d")
        .arg(classes)
        .arg(&source)
        .output()
        .context("cannot run javac")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} does not compile: {said}", source.display());
    Ok(())
}

/// Starts a compiled program. `options` are for the machine, `arguments` for the program.
pub(crate) fn start(
    main: &str,
    jars: &Path,
    work: &Path,
    options: &[&str],
    arguments: &[String],
    name: &str,
) -> anyhow::Result<Process> {
    let log = work.join(format!("{name}.log"));
    let file = File::create(&log)?;
    let child = Command::new("java")
        .args(HEAP)
        .args(options)
        .arg("-cp")
        .arg(format!("{}:{}/*", work.join("classes").display(), jars.display()))
        .arg(main)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .context("cannot run java")?;
    Ok(Process { child, log })
}

impl Process {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let said = fs::read(&self.log).unwrap_or_default();
            let tail = String::from_utf8_lossy(&said[said.len().saturating_sub(TAIL)..]).into_owned();
            bail!("it ended ({status}): {tail}");
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // What has ended already cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
