//! The committed code is what the description generates.

use std::path::Path;

const FILE: &str = "src/generated/logmill.v1.rs";

#[test]
fn committed_code_is_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = tempfile::tempdir().expect("a directory");
    let described = protox::compile(
        ["logmill/v1/pipelines.proto", "logmill/v1/node.proto", "logmill/v1/query.proto"],
        [root.join("proto")],
    )
    .expect("the description must compile");
    tonic_prost_build::configure()
        .out_dir(out.path())
        .compile_fds(described)
        .expect("the code must be generated");
    let generated = std::fs::read_to_string(out.path().join("logmill.v1.rs")).expect("generated code");

    if std::env::var_os("REGENERATE").is_some() {
        std::fs::write(root.join(FILE), &generated).expect("written");
    }
    let committed = std::fs::read_to_string(root.join(FILE)).unwrap_or_default();
    assert!(
        committed == generated,
        "client/rpc/{FILE} is not what proto/ generates; write it anew with `REGENERATE=1 cargo test -p logmill-rpc`"
    );
}

#[test]
fn the_preface_is_no_kafka_length() {
    let preface = logmill_rpc::HTTP2_PREFACE;
    let as_length = i32::from_be_bytes([preface[0], preface[1], preface[2], preface[3]]);
    assert!(as_length > 1 << 30);
}
