//! The SNMP engine of this agent, for notifications of version 3 that nobody acknowledges: its
//! sender is the authority on time, by an id and a count of starts that never falls.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use async_snmp::v3::{AuthoritativeEngine, PersistedAuthoritativeEngine};

use crate::clock;
use crate::group::HostId;

/// Name of the file in the state directory: the id in hexadecimal digits, and the starts.
const FILE: &str = "snmp-engine";

/// More than the file can have.
const LIMIT: u64 = 1 << 10;

/// The enterprise number for documentation (RFC 5612).
const ENTERPRISE: u32 = 32_473;

/// The count of starts cannot be kept.
#[derive(Debug, thiserror::Error)]
#[error(
    "the SNMP engine's count of starts cannot be kept in {}: {error}; name another directory with \
     `state_dir` in [agent], on a disk",
    path.display()
)]
pub struct EngineError {
    path: PathBuf,
    error: String,
}

/// The id of a host's engine (RFC 3411, 5, `SnmpEngineID`): known beforehand, so that receivers
/// can be configured with it.
fn engine_id(host: HostId) -> Vec<u8> {
    let mut id = (ENTERPRISE | 1 << 31).to_be_bytes().to_vec();
    match host.0 {
        IpAddr::V4(v4) => {
            id.push(1);
            id.extend(v4.octets());
        }
        IpAddr::V6(v6) => {
            id.push(2);
            id.extend(v6.octets());
        }
    }
    id
}

/// The id of a host's engine in hexadecimal digits.
#[must_use]
pub fn shown_engine_id(host: HostId) -> String {
    hex(&engine_id(host))
}

/// The engine of this host, started once more than is written down in `state_dir`, which is made
/// if it is not there.
///
/// # Errors
/// It cannot be written down.
pub fn open_engine(state_dir: &Path, host: HostId) -> Result<AuthoritativeEngine, EngineError> {
    let path = state_dir.join(FILE);
    let failed = |error: String| EngineError { path: path.clone(), error };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state_dir)
        .map_err(|e| failed(e.to_string()))?;
    let id = engine_id(host);
    let boots = match read(&path, &id) {
        Ok(Some(boots)) => boots,
        // Receivers may remember more than was written down: minutes since 1970 are more than
        // there can have been.
        Ok(None) => minutes(),
        Err(error) => return Err(failed(error.to_string())),
    };
    let previous =
        PersistedAuthoritativeEngine::new(id, boots).map_err(|e| failed(e.to_string()))?;
    let target = path.clone();
    let persist = move |state: &PersistedAuthoritativeEngine| write(&target, state);
    let engine =
        AuthoritativeEngine::restart(previous, persist).map_err(|e| failed(e.to_string()))?;
    tracing::info!(id = hex(engine.engine_id()), boots = engine.engine_boots(), "SNMP engine");
    Ok(engine)
}

fn minutes() -> u32 {
    u32::try_from(clock::wall_nanos() / 60_000_000_000).unwrap_or(0)
}

/// How often the engine of this id was started. None where that is not written down.
fn read(path: &Path, id: &[u8]) -> io::Result<Option<u32>> {
    let mut text = String::new();
    match fs::File::open(path) {
        Ok(file) => file.take(LIMIT).read_to_string(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let boots = text.trim().strip_prefix(&hex(id)).and_then(|rest| rest.trim().parse().ok());
    if boots.is_none() {
        let shown = path.display();
        tracing::warn!("{shown} is not about this host's SNMP engine: counting from the clock");
    }
    Ok(boots)
}

/// Replaces the file in one step, and sees to it that it is on the disk.
fn write(path: &Path, state: &PersistedAuthoritativeEngine) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut open = OpenOptions::new();
    let mut file = open.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    writeln!(file, "{} {}", hex(state.engine_id()), state.engine_boots())?;
    file.sync_all()?;
    fs::rename(new, path)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String does not fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_counted_and_never_fall() {
        let dir = std::env::temp_dir().join(format!("rais-engine-{}", std::process::id()));
        let host = HostId([10, 77, 0, 1].into());
        assert_eq!(shown_engine_id(host), "80007ed9010a4d0001");
        let starts = |host| open_engine(&dir, host).unwrap().engine_boots();
        let first = starts(host);
        assert!(first > minutes().saturating_sub(2));
        assert_eq!(starts(host), first + 1);
        fs::write(dir.join(FILE), "80007ed9010a4d0001 2000000000\n").unwrap();
        assert_eq!(starts(host), 2_000_000_001);
        // Another host's, or nothing that makes sense: the clock is ahead of what can have been.
        assert!(starts(HostId([10, 77, 0, 2].into())) >= first);
        fs::write(dir.join(FILE), "nonsense").unwrap();
        assert!(starts(host) >= first);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn where_nothing_can_be_written_is_said() {
        let error = open_engine(Path::new("/proc/rais"), HostId([10, 77, 0, 1].into()));
        let message = error.unwrap_err().to_string();
        assert!(message.contains("/proc/rais/snmp-engine") && message.contains("`state_dir`"));
    }
}
