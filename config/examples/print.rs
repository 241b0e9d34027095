//! Prints the shipped configuration file: `cargo run -p logmill-config --example print > config/logmill.toml`.

#![allow(clippy::print_stdout)]

fn main() {
    print!("{}", logmill_config::Config::default().to_toml());
}
