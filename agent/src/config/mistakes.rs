//! What is wrong with a configuration file, for the person who wrote it.

use std::fmt;
use std::path::{Path, PathBuf};

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Line and column, both from 1, the column in characters; none where the file as a whole is
    /// at fault.
    pub position: Option<(usize, usize)>,
    /// What is wrong and what was expected.
    pub message: String,
}

/// All mistakes of a file, in its order. Shown one a line, as `FILE:LINE:COLUMN: message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes {
    file: PathBuf,
    list: Vec<Mistake>,
}

impl Mistakes {
    /// The mistakes found in `file`.
    pub(super) fn new(file: &Path, mut list: Vec<Mistake>) -> Self {
        list.sort_by_key(|mistake| mistake.position);
        Self { file: file.to_owned(), list }
    }

    /// `file` as a whole is at fault.
    pub(super) fn of_file(file: &Path, message: String) -> Self {
        Self::new(file, vec![Mistake { position: None, message }])
    }

    /// The mistakes, in the order of the file.
    #[must_use]
    pub fn list(&self) -> &[Mistake] {
        &self.list
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        for (n, Mistake { position, message }) in self.list.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            match position {
                Some((line, column)) => write!(f, "{file}:{line}:{column}: {message}")?,
                None => write!(f, "{file}: {message}")?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// Line and column, from 1, of the byte at `offset` of `text`.
pub(super) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before.get(start..).map_or(0, |line| line.chars().count()) + 1;
    (line, column)
}
