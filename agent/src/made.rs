//! What was made in the file system on the way to something that may still fail.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Directories and files that were not there before. They go when this is dropped, unless kept.
#[derive(Debug, Default)]
pub(crate) struct Made(Vec<PathBuf>);

impl Made {
    /// Makes the directory `path` and what is missing above it, with the permissions `mode`.
    ///
    /// # Errors
    /// The system refuses; nothing was made.
    pub(crate) fn directories(path: &Path, mode: u32) -> io::Result<Self> {
        let mut new = Self::default();
        if path.exists() && !path.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let missing: Vec<_> = path.ancestors().take_while(|above| !above.exists()).collect();
        for directory in missing.into_iter().rev() {
            match fs::DirBuilder::new().mode(mode).create(directory) {
                Ok(()) => new.add(directory),
                // Somebody else was quicker; it is theirs then.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => {}
                Err(e) => return Err(e),
            }
        }
        Ok(new)
    }

    /// `path` was made, too, after what is listed already.
    pub(crate) fn add(&mut self, path: &Path) {
        self.0.push(path.to_owned());
    }

    /// It is to stay.
    pub(crate) fn keep(&mut self) {
        self.0.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for path in self.0.iter().rev() {
            // A directory with something in it is in use by others, and stays.
            let removed = if path.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) };
            if let Err(error) = removed {
                tracing::debug!("{} stays: {error}", path.display());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_goes_and_what_was_there_stays() {
        let base = std::env::temp_dir().join(format!("rais-made-{}", std::process::id()));
        let outer = Made::directories(&base.join("a"), 0o700).unwrap();
        let mut inner = Made::directories(&base.join("a/b/c"), 0o700).unwrap();
        fs::write(base.join("a/b/c/file"), "").unwrap();
        inner.add(&base.join("a/b/c/file"));
        drop(inner);
        assert!(base.join("a").is_dir() && !base.join("a/b").exists());

        Made::directories(&base.join("a/kept"), 0o700).unwrap().keep();
        drop(outer);
        assert!(base.join("a/kept").is_dir(), "a directory in use stays");
        fs::write(base.join("file"), "").unwrap();
        Made::directories(&base.join("x/../file/y"), 0o700).unwrap_err();
        fs::remove_dir_all(&base).unwrap();
    }
}
