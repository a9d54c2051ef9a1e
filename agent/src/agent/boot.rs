//! The boot epoch: higher at each start of this host than at any before.

use std::fs;
use std::io;
use std::path::Path;

use crate::clock;

/// Where the last one is written down, so that a clock set back between two starts does no harm.
/// A machine whose clock is wrong after it booted learns from the others (`Report::BootRaised`).
const FILE: &str = "boot";

/// Whether one is written down.
pub(super) fn is_known(run_dir: &Path) -> bool {
    run_dir.join(FILE).exists()
}

/// Takes back the first one that was ever written down.
pub(super) fn forget(run_dir: &Path) -> io::Result<()> {
    fs::remove_file(run_dir.join(FILE))
}

/// The boot epoch of this start: the wall clock in nanoseconds, or one more than the last.
pub(super) fn next(run_dir: &Path) -> io::Result<u64> {
    let path = run_dir.join(FILE);
    let last = match fs::read_to_string(&path) {
        // Not a number is as good as nothing: the clock decides.
        Ok(text) => text.trim().parse().unwrap_or(0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    let boot = clock::wall_nanos().max(u64::saturating_add(last, 1));
    let new = run_dir.join("boot.new");
    fs::write(&new, format!("{boot}\n"))?;
    fs::rename(new, path)?;
    Ok(boot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ascends_even_where_the_clock_was_set_back() {
        let dir = std::env::temp_dir().join(format!("rais-boot-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        assert!(!is_known(&dir));
        let first = next(&dir).unwrap();
        assert!(is_known(&dir));
        assert!(next(&dir).unwrap() > first);
        fs::write(dir.join(FILE), format!("{}\n", u64::MAX - 1)).unwrap();
        assert_eq!(next(&dir).unwrap(), u64::MAX);
        fs::write(dir.join(FILE), "not a number").unwrap();
        assert!(next(&dir).unwrap() > first);
        forget(&dir).unwrap();
        assert!(!is_known(&dir));
        fs::remove_dir_all(&dir).unwrap();
    }
}
