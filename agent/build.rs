//! Finds the compiled XDP program, which `agent/src/data_plane/bpf.rs` includes.

use std::env;
use std::path::PathBuf;

fn main() {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    // Fixed below the workspace root, wherever the target directory is.
    let object = package.join("../target/bpf/rais-ebpf.o");
    println!("cargo::rerun-if-changed={}", object.display());
    if object.is_file() {
        println!("cargo::rustc-env=XDP_OBJECT={}", object.display());
    } else {
        println!("cargo::error=the XDP program is not built: run `cargo xtask build-ebpf` first");
    }
}
