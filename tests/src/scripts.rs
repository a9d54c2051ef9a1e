//! Programs for agents to run, and what they wrote down.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

use crate::netns::binary;

/// A directory of programs beside those of this project: others may forbid running what is in
/// them. Goes when it is dropped.
#[derive(Debug)]
pub struct Scripts {
    dir: PathBuf,
}

impl Scripts {
    /// An empty directory.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let beside = binary("rais")?;
        let name = format!("rais-scripts-{}-{number}", std::process::id());
        let dir = beside.parent().unwrap_or(Path::new("/")).join(name);
        fs::create_dir_all(&dir)?;
        Ok(Self { dir })
    }

    /// Where something of this name is.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A shell script. Its working directory is this one.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn program(&self, name: &str, body: &str) -> Result<PathBuf> {
        let path = self.path(name);
        let dir = self.dir.display();
        fs::write(&path, format!("#!/bin/sh\ncd '{dir}' || exit 99\n{body}\n"))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(path)
    }

    /// A script that writes down what it was told, and, as `SEEN`, how often the address is on the
    /// interface; then it does what `body` says.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn recorder(&self, name: &str, body: &str) -> Result<PathBuf> {
        let record = "seen=$(ip -4 address show dev \"$RAIS_INTERFACE\" \
             | grep -c \"inet $RAIS_ADDRESS/\")\n\
             told=$(env | grep '^RAIS_' | grep -v '^RAIS_BED=' | sort | tr '\\n' '|')\n\
             echo \"$told|SEEN=$seen\" >> records";
        self.program(name, &format!("{record}\n{body}"))
    }

    /// What the recorders wrote down, in order.
    ///
    /// # Errors
    /// It makes no sense.
    pub fn records(&self) -> Result<Vec<BTreeMap<String, String>>> {
        let text = fs::read_to_string(self.path("records")).unwrap_or_default();
        text.lines().map(record).collect()
    }
}

/// Names and values of a line.
fn record(line: &str) -> Result<BTreeMap<String, String>> {
    let pairs = line.split('|').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) =
                pair.split_once('=').with_context(|| format!("no value: {line}"))?;
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}

impl Drop for Scripts {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.dir).ok();
    }
}
