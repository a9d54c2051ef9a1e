//! `cargo xtask build-ebpf`: compiles the XDP program with the pinned toolchain.
//!
//! The objects land at `target/bpf/rais-ebpf.o`, `rais-proof.o` and `rais-bench.o` below the workspace
//! root, wherever `CARGO_TARGET_DIR` points: `agent/build.rs` looks for them there.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};

/// The target of BPF programs on little-endian machines.
const TARGET: &str = "bpfel-unknown-none";
/// Fits LLVM 22 of the pinned toolchain; later ones want LLVM 23 installed.
const LINKER_VERSION: &str = "0.10.1";
/// Debug information, from which the linker makes the BTF that names the fields of the maps. And
/// headers are not aligned: x86-64 and arm64 read words from them all the same, and so may BPF there.
/// Byte by byte an answered solicitation costs 35 ns more. (The compiler says that the feature is
/// unstable; its version is pinned.)
const RUSTFLAGS: [&str; 6] = [
    "-C",
    "debuginfo=2",
    "-C",
    "link-arg=--btf",
    "-C",
    "target-feature=+allows-misaligned-mem-access",
];

/// The XDP program, what proves that its replies leave, and what it is measured against.
const OBJECTS: [&str; 3] = ["rais-ebpf", "rais-proof", "rais-bench"];

/// Builds the XDP program, installing what is missing for it.
///
/// # Errors
/// In words for the person at the keyboard: what failed, and what to do about it.
pub(crate) fn build_ebpf() -> Result<()> {
    ensure_rust_src()?;
    ensure_linker()?;
    run(cargo("build").args(["--release"]))?;
    for object in OBJECTS {
        let built = bpf_dir().join(TARGET).join("release").join(object);
        install(&built, &bpf_dir().join(object).with_extension("o"))?;
    }
    Ok(())
}

/// Runs clippy on the XDP program; a warning is an error.
///
/// # Errors
/// A warning, or what [`build_ebpf`] fails for.
pub(crate) fn clippy_ebpf() -> Result<()> {
    ensure_rust_src()?;
    run(cargo("clippy").args(["--release", "--", "--deny", "warnings"]))
}

/// The workspace root.
fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// A target directory of its own: neither waits for the main one's lock nor invalidates it.
fn bpf_dir() -> PathBuf {
    root().join("target/bpf")
}

/// `cargo TASK` for the eBPF package, free of what the outer cargo put into the environment.
fn cargo(task: &str) -> Command {
    let mut command = tool("cargo");
    command.args([task, "--package", "rais-ebpf", "--target", TARGET, "-Z", "build-std=core"]);
    command.arg("--target-dir").arg(bpf_dir());
    // `build-std` is unstable; this lets the pinned stable toolchain do it.
    command.env("RUSTC_BOOTSTRAP", "1");
    command.env("CARGO_ENCODED_RUSTFLAGS", RUSTFLAGS.join("\x1f"));
    command
}

/// A command in the workspace root, by the toolchain pinned there. The settings of the outer
/// cargo are for the host's target and are taken away; the user's own (`CARGO_HOME`,
/// `CARGO_NET_*`, `CARGO_REGISTRIES_*`, `CARGO_HTTP_*`, `CARGO_TERM_*`) stay.
fn tool(program: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    for (name, _) in env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        let build = ["CARGO_PKG_", "CARGO_BUILD_", "CARGO_TARGET_", "CARGO_PROFILE_", "CARGO_BIN_"];
        let exact = [
            "CARGO",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_MANIFEST_DIR",
            "CARGO_MANIFEST_PATH",
            "CARGO_PRIMARY_PACKAGE",
            "CLIPPY_ARGS",
            "RUSTC",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTC_WRAPPER",
            "RUSTDOCFLAGS",
            "RUSTFLAGS",
            "RUSTUP_TOOLCHAIN",
        ];
        if build.iter().any(|prefix| text.starts_with(prefix)) || exact.contains(&text) {
            command.env_remove(&name);
        }
    }
    command
}

/// `core` is compiled from source.
fn ensure_rust_src() -> Result<()> {
    let output = tool("rustc").args(["--print", "sysroot"]).output().context("rustc")?;
    ensure!(output.status.success(), "rustc --print sysroot: {}", output.status);
    let sysroot = String::from_utf8(output.stdout).context("rustc --print sysroot")?;
    let source = Path::new(sysroot.trim()).join("lib/rustlib/src/rust");
    if source.join("library/core/src/lib.rs").exists() {
        return Ok(());
    }
    run(tool("rustup").args(["component", "add", "rust-src"])).with_context(|| {
        format!(
            "the XDP program needs the standard library's source. Where rustup cannot get it: on \
             Debian, `apt install rust-src` of the same version (trixie-backports), then \
             `mkdir -p {} && ln -s /usr/src/rustc-VERSION {}`",
            source.parent().unwrap_or(&source).display(),
            source.display()
        )
    })
}

/// `bpf-linker` is found in the path, in the version that fits.
fn ensure_linker() -> Result<()> {
    let found = tool("bpf-linker").arg("--version").output();
    let version = found.ok().map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    if version.as_deref().is_some_and(|text| text.trim().ends_with(LINKER_VERSION)) {
        return Ok(());
    }
    let version_arguments = ["--version", LINKER_VERSION, "--locked", "--force"];
    run(tool("cargo").args(["install", "bpf-linker"]).args(version_arguments)).with_context(|| {
        format!(
            "the XDP program needs bpf-linker {LINKER_VERSION}: \
             `cargo install bpf-linker --version {LINKER_VERSION} --locked`"
        )
    })
}

/// Copies the object where it differs: an unchanged one keeps its time, so that nothing that
/// includes it is built again.
fn install(built: &Path, object: &Path) -> Result<()> {
    let new = fs::read(built).with_context(|| format!("the object at {}", built.display()))?;
    if fs::read(object).is_ok_and(|old| old == new) {
        return Ok(());
    }
    // By renaming: whoever reads meanwhile sees the old one or the new one.
    let part = object.with_extension("part");
    fs::write(&part, new).with_context(|| format!("writing {}", part.display()))?;
    fs::rename(&part, object).with_context(|| format!("writing {}", object.display()))
}

/// Runs to the end; anything but success is an error.
fn run(command: &mut Command) -> Result<()> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let status = command.status().with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}`: {status}");
    }
    Ok(())
}
