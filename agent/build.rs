//! Finds the compiled XDP programs, which `agent/src/data_plane/bpf.rs` and `bpf/proof.rs` include.

use std::env;
use std::path::PathBuf;

fn main() {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    // Fixed below the workspace root, wherever the target directory is.
    let objects = package.join("../target/bpf");
    for (name, object) in [("XDP_OBJECT", "rais-ebpf.o"), ("PROOF_OBJECT", "rais-proof.o")] {
        let object = objects.join(object);
        println!("cargo::rerun-if-changed={}", object.display());
        if object.is_file() {
            println!("cargo::rustc-env={name}={}", object.display());
        } else {
            println!(
                "cargo::error={} is not built: run `cargo xtask build-ebpf` first",
                object.display()
            );
        }
    }
}
