//! Which groups are quiesced, written down for the next agent in the same run directory.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Name of the file in the run directory: the name of a group a line. There is none where no group
/// is quiesced.
const FILE: &str = "quiesced";

/// More than the names of all groups an agent can be in.
const LIMIT: u64 = 16 << 10;

/// The quiesced groups of this agent, by name.
#[derive(Debug)]
pub(super) struct Quiesced {
    file: PathBuf,
    names: BTreeSet<String>,
}

impl Quiesced {
    /// What is written down about these groups. Anything else in the file is ignored with a
    /// warning: an agent that does not start helps nobody, and a group that was removed from the
    /// configuration must not end the maintenance of the others.
    pub(super) fn read(run_dir: &Path, groups: &BTreeSet<&str>) -> Self {
        let file = run_dir.join(FILE);
        let (names, problem) = names(&file, groups);
        if let Some(problem) = problem {
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            let quiesced = if names.is_empty() { "no group".to_owned() } else { names.join(", ") };
            tracing::warn!("{}: ignored: {problem}; quiesced is {quiesced}", file.display());
        }
        Self { file, names }
    }

    /// No group, whatever is written down.
    pub(super) fn none(run_dir: &Path) -> Self {
        Self { file: run_dir.join(FILE), names: BTreeSet::new() }
    }

    /// Whether this group is quiesced.
    pub(super) fn has(&self, group: &str) -> bool {
        self.names.contains(group)
    }

    /// These groups are quiesced from now on, or are not any more; writes it down.
    ///
    /// # Errors
    /// The system refuses; what is written down is as before.
    pub(super) fn set<'a>(
        &mut self,
        groups: impl Iterator<Item = &'a str>,
        on: bool,
    ) -> io::Result<()> {
        for group in groups {
            if on {
                self.names.insert(group.to_owned());
            } else {
                self.names.remove(group);
            }
        }
        self.write()
    }

    /// Replaces the file in one step: whoever reads it finds all of the old or all of the new.
    fn write(&self) -> io::Result<()> {
        if self.names.is_empty() {
            return match fs::remove_file(&self.file) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
                Ok(()) | Err(_) => Ok(()),
            };
        }
        let new = self.file.with_extension("new");
        let mut open = OpenOptions::new();
        let mut file = open.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        let text: String = self.names.iter().flat_map(|name| [name, "\n"]).collect();
        file.write_all(text.as_bytes())?;
        fs::rename(new, &self.file)
    }
}

/// Which of these groups the file names, and what is wrong with it. Nothing is where there is none.
fn names(file: &Path, groups: &BTreeSet<&str>) -> (BTreeSet<String>, Option<String>) {
    let text = match text(file) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return (BTreeSet::new(), None),
        Err(e) => return (BTreeSet::new(), Some(e.to_string())),
    };
    let (known, unknown): (Vec<_>, Vec<_>) = text.lines().partition(|line| groups.contains(line));
    let problem = unknown.first().map(|line| {
        // It may be anything: not all of it goes to the log.
        let shown: String = line.chars().take(80).collect();
        format!("there is no group {shown:?}")
    });
    (known.into_iter().map(str::to_owned).collect(), problem)
}

fn text(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    let length = File::open(file)?.take(LIMIT + 1).read_to_string(&mut text)?;
    if length as u64 > LIMIT {
        return Err(io::Error::other(format!("it is larger than {LIMIT} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A directory that goes with this.
    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let name = format!("rais-quiesced-{name}-{}", std::process::id());
            let dir = std::env::temp_dir().join(name);
            fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }

        fn read(&self) -> Quiesced {
            Quiesced::read(&self.0, &BTreeSet::from(["web", "mail", "db"]))
        }

        fn files(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn what_was_set_is_read_again() {
        let dir = Dir::new("again");
        let mut first = dir.read();
        assert!(!first.has("web") && dir.files().is_empty());
        first.set(["web", "mail"].into_iter(), true).unwrap();
        assert_eq!(dir.files(), [FILE]);
        let file = dir.0.join(FILE);
        assert_eq!(fs::read_to_string(&file).unwrap(), "mail\nweb\n");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);

        let mut second = dir.read();
        assert!(second.has("web") && second.has("mail") && !second.has("db"));
        second.set(["web"].into_iter(), false).unwrap();
        assert!(!dir.read().has("web") && dir.read().has("mail"));
        second.set(["web", "mail", "db"].into_iter(), false).unwrap();
        assert!(dir.files().is_empty());
        second.set(["web"].into_iter(), false).unwrap();
        assert!(!Quiesced::none(&dir.0).has("web"));
    }

    #[test]
    fn bad_content_is_ignored_and_replaced() {
        let dir = Dir::new("bad");
        let file = dir.0.join(FILE);
        let long = "web\n".repeat(5_000);
        let bad: [&[u8]; 5] = [b"web\0", b"web\n\xff\n", b"\n", b"web \n", long.as_bytes()];
        for content in bad {
            fs::write(&file, content).unwrap();
            let read = dir.read();
            assert!(read.names.is_empty(), "{content:?}: {read:?}");
        }
        let read = |content: &[u8]| {
            fs::write(&file, content).unwrap();
            let (names, problem) = names(&file, &BTreeSet::from(["web"]));
            (names.len(), problem.unwrap_or_default())
        };
        let gone = "there is no group \"ftp\"".to_owned();
        assert_eq!(read(b"web\nftp\nirc\n"), (1, gone), "the other stays quiesced");
        assert_eq!(read(b"web\n"), (1, String::new()));
        assert_eq!(read(&b"x".repeat(1_000)).1.len(), "there is no group \"\"".len() + 80);
        assert_eq!(read(long.as_bytes()), (0, "it is larger than 16384 bytes".to_owned()));
        dir.read().set(["db"].into_iter(), true).unwrap();
        assert!(dir.read().has("db"));

        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert!(dir.read().names.is_empty());
        dir.read().set(["db"].into_iter(), true).unwrap_err();
    }
}
