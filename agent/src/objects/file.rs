//! Test object: a file is there.

use std::fs::{self, OpenOptions};
use std::future::Future;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use tokio::sync::{Mutex, oneshot};

use super::{TestObject, Verdict};
use crate::clock;

/// `contains` is looked for in so many bytes, from the beginning.
const MOST_READ: u64 = 64 << 10;

/// Stack of a thread that looks: locked in memory while it does, so no more than it needs.
const LOOK_STACK: usize = 128 * 1024;

/// Passes while the path is there; see [`File::new`] for what else can be asked of it.
#[derive(Clone, Debug)]
pub struct File {
    look: Look,
    /// A look at a file system that hangs cannot be ended. It is not repeated either: the next run
    /// waits for it, and misses its deadline too.
    one_at_a_time: Arc<Mutex<()>>,
}

#[derive(Clone, Debug)]
struct Look {
    path: PathBuf,
    contains: Option<String>,
    max_age: Option<Duration>,
}

impl File {
    /// Tests that `path` is there, links followed. With `contains`, that it is a regular file with
    /// this text in its first 64 KiB. With `max_age`, that it was modified no longer ago than that
    /// by the wall clock; the future is no age.
    #[must_use]
    pub fn new(path: PathBuf, contains: Option<String>, max_age: Option<Duration>) -> Self {
        let look = Look { path, contains, max_age };
        Self { look, one_at_a_time: Arc::default() }
    }
}

impl TestObject for File {
    fn run(&self) -> Pin<Box<dyn Future<Output = Verdict> + Send + '_>> {
        Box::pin(async {
            let turn = Arc::clone(&self.one_at_a_time).lock_owned().await;
            let look = self.look.clone();
            let (tell, told) = oneshot::channel();
            // Not one of the runtime's threads: where the system has no room for another, the
            // runtime panics, and the test would be over.
            let thread = thread::Builder::new().name("rais-look".to_owned()).stack_size(LOOK_STACK);
            let started = thread.spawn(move || {
                let verdict = look.verdict();
                drop(turn);
                // Past the deadline nobody listens.
                drop(tell.send(verdict));
            });
            if let Err(e) = started {
                return Err(format!("no thread to look at {}: {e}", self.look.path.display()));
            }
            told.await.unwrap_or_else(|_gone| Err("the look ended without a verdict".to_owned()))
        })
    }
}

impl Look {
    fn verdict(&self) -> Verdict {
        let path = self.path.display();
        let about = fs::metadata(&self.path).map_err(|e| format!("{path}: {e}"))?;
        if let Some(most) = self.max_age {
            let modified = about.modified().map_err(|e| format!("{path}: {e}"))?;
            let modified = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
            let age = Duration::from_nanos(clock::wall_nanos()).saturating_sub(modified);
            if age > most {
                return Err(format!("{path} was modified {} s ago", age.as_secs()));
            }
        }
        if let Some(text) = &self.contains
            && !self.holds(text.as_bytes()).map_err(|e| format!("{path}: {e}"))?
        {
            return Err(format!("{path} does not contain {text:?}"));
        }
        Ok(format!("{path} is there"))
    }

    fn holds(&self, text: &[u8]) -> io::Result<bool> {
        // Nothing but a regular file is read, and opening a pipe does not wait for its other end.
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&self.path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        let mut start = Vec::new();
        file.take(MOST_READ).read_to_end(&mut start)?;
        Ok(super::contains(&start, text))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::SystemTime;

    use super::*;

    /// A directory that goes with its owner.
    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let name = format!("rais-file-{name}-{}", std::process::id());
            let dir = Self(std::env::temp_dir().join(name));
            fs::create_dir_all(&dir.0).unwrap();
            dir
        }

        fn file(&self) -> PathBuf {
            self.0.join("there")
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    async fn look(path: &Path, contains: Option<&str>, max_age: Option<Duration>) -> Verdict {
        File::new(path.to_owned(), contains.map(str::to_owned), max_age).run().await
    }

    #[tokio::test]
    async fn follows_the_file() {
        let dir = Dir::new("follows");
        let path = dir.file();
        let file = File::new(path.clone(), None, None);
        let gone = Err(format!("{}: No such file or directory (os error 2)", path.display()));
        assert_eq!(file.run().await, gone);
        fs::write(&path, "").unwrap();
        assert_eq!(file.run().await, Ok(format!("{} is there", path.display())));
        fs::remove_file(&path).unwrap();
        assert_eq!(file.run().await, gone);
    }

    #[tokio::test]
    async fn content_counts_at_the_beginning_only() {
        let dir = Dir::new("content");
        let path = dir.file();
        let limit = usize::try_from(MOST_READ).unwrap();
        for (before, found) in [(0, true), (limit - 5, true), (limit - 4, false)] {
            fs::write(&path, format!("{}ready", " ".repeat(before))).unwrap();
            assert_eq!(look(&path, Some("ready"), None).await.is_ok(), found, "{before}");
        }
        let said = look(&path, Some("steady"), None).await.unwrap_err();
        assert!(said.ends_with("does not contain \"steady\""), "{said}");
        assert!(look(&dir.0, Some("a"), None).await.is_err(), "a directory has no text");
        assert!(look(&dir.0, None, None).await.is_ok());
    }

    #[tokio::test]
    async fn a_pipe_is_not_waited_for() {
        let dir = Dir::new("pipe");
        nix::unistd::mkfifo(&dir.file(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let said = look(&dir.file(), Some("a"), None).await.unwrap_err();
        assert!(said.ends_with(": not a regular file"), "{said}");
    }

    #[tokio::test]
    async fn age_is_the_time_since_it_was_modified() {
        let dir = Dir::new("age");
        let path = dir.file();
        let file = fs::File::create(&path).unwrap();
        let now = Duration::from_nanos(clock::wall_nanos());
        let minute = Duration::from_mins(1);
        let modified = |when: Duration| file.set_modified(SystemTime::UNIX_EPOCH + when).unwrap();
        modified(now.checked_sub(minute * 2).unwrap());
        let said = look(&path, None, Some(minute)).await.unwrap_err();
        assert!(said.ends_with("was modified 120 s ago"), "{said}");
        assert!(look(&path, None, Some(minute * 3)).await.is_ok());
        modified(now + minute);
        assert!(look(&path, None, Some(minute)).await.is_ok(), "the future is no age");
    }

    #[tokio::test]
    async fn a_look_that_hangs_is_not_begun_again() {
        let file = File::new(PathBuf::from("/"), None, None);
        let hanging = Arc::clone(&file.one_at_a_time).lock_owned().await;
        let short = Duration::from_millis(20);
        assert!(tokio::time::timeout(short, file.run()).await.is_err());
        drop(hanging);
        assert!(file.run().await.is_ok());
    }
}
