//! Log lines as entries of systemd's journal: the text, and every field by itself, so that
//! `journalctl RAIS_GROUP=web` finds what concerns a group.
//!
//! An entry is a datagram (`systemd.io/JOURNAL_NATIVE_PROTOCOL`). It is never waited for: a journal
//! that stands still costs entries, which are counted, and no heartbeat.

use std::fmt::{Debug, Write as _};
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::stat::fstat;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// Longest value of a field, in bytes; a datagram has to fit a socket's buffer.
const LONGEST: usize = 16 << 10;

/// Sends log lines to the journal.
pub(super) struct Journal {
    socket: UnixDatagram,
    /// Entries that found no room since the last that did.
    lost: AtomicU64,
}

impl Journal {
    /// The journal, if it is what this process's standard error is connected to.
    pub(super) fn of_stderr() -> Option<Self> {
        let told = std::env::var("JOURNAL_STREAM").ok()?;
        let stderr = fstat(io::stderr()).ok()?;
        (told == format!("{}:{}", stderr.st_dev, stderr.st_ino)).then_some(())?;
        Self::at(Path::new(SOCKET)).ok()
    }

    fn at(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, lost: AtomicU64::new(0) })
    }

    fn send(&self, entry: &Entry) {
        let lost = self.lost.load(Ordering::Relaxed);
        if lost > 0 {
            let mut about = Entry::default();
            about.head(Level::WARN, module_path!());
            about.message = format!("{lost} log lines were lost: the journal had no room");
            if self.socket.send(&about.bytes()).is_ok() {
                self.lost.fetch_sub(lost, Ordering::Relaxed);
            }
        }
        match self.socket.send(&entry.bytes()) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
            // The journal is being started again, perhaps; nothing else is left to tell.
            Err(_) => drop(writeln!(io::stderr(), "{}", entry.message)),
        }
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut entry = Entry::default();
        entry.head(*event.metadata().level(), event.metadata().target());
        event.record(&mut entry);
        self.send(&entry);
    }
}

/// One entry.
#[derive(Default)]
struct Entry {
    /// What people read: the message, and the fields after it.
    message: String,
    fields: String,
    bytes: Vec<u8>,
}

impl Entry {
    fn head(&mut self, level: Level, target: &str) {
        // The levels of syslog(3).
        let priority = match level {
            Level::ERROR => "3",
            Level::WARN => "4",
            Level::INFO => "6",
            _ => "7",
        };
        self.put("PRIORITY", priority);
        self.put("SYSLOG_IDENTIFIER", "rais");
        self.put("TARGET", target);
    }

    fn put(&mut self, name: &str, value: &str) {
        put(&mut self.bytes, name, value);
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        put(&mut bytes, "MESSAGE", &format!("{}{}", self.message, self.fields));
        bytes
    }

    fn field(&mut self, name: &str, value: &str) {
        if name == "message" {
            value.clone_into(&mut self.message);
            return;
        }
        // Writing to a String does not fail.
        write!(self.fields, " {name}={value}").ok();
        let name: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
            .collect();
        self.put(&format!("RAIS_{name}"), value);
    }
}

/// A field with its length, so that it may hold lines.
fn put(bytes: &mut Vec<u8>, name: &str, value: &str) {
    let end = (0..=LONGEST.min(value.len())).rev().find(|&end| value.is_char_boundary(end));
    let value = value.get(..end.unwrap_or(0)).unwrap_or_default();
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(b'\n');
    bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
    bytes.extend_from_slice(value.as_bytes());
    bytes.push(b'\n');
}

impl Visit for Entry {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.field(field.name(), &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// A journal that nobody empties, and what reads it.
    fn journal(name: &str) -> (Journal, UnixDatagram) {
        let path = std::env::temp_dir().join(format!("rais-journal-{name}-{}", std::process::id()));
        std::fs::remove_file(&path).ok();
        let listener = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::at(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        (journal, listener)
    }

    /// The fields of the next entry.
    fn next(listener: &UnixDatagram) -> Vec<(String, String)> {
        let mut buffer = vec![0; 1 << 18];
        let length = listener.recv(&mut buffer).unwrap();
        let mut rest = &buffer[..length];
        let mut fields = Vec::new();
        while !rest.is_empty() {
            let end = rest.iter().position(|&byte| byte == b'\n').unwrap();
            let name = String::from_utf8(rest[..end].to_vec()).unwrap();
            let (head, tail) = rest[end + 1..].split_at(8);
            let length = usize::try_from(u64::from_le_bytes(head.try_into().unwrap())).unwrap();
            fields.push((name, String::from_utf8(tail[..length].to_vec()).unwrap()));
            assert_eq!(tail[length], b'\n');
            rest = &tail[length + 1..];
        }
        fields
    }

    #[test]
    fn a_line_is_an_entry_with_fields() {
        let (journal, listener) = journal("fields");
        let subscriber = tracing_subscriber::registry().with(journal);
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: "rais::x", group = "web", left = 2, "two\nlines");
            tracing::info!("{}", "\u{e9}".repeat(LONGEST));
        });
        let told = next(&listener);
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let wanted = [
            field("PRIORITY", "4"),
            field("SYSLOG_IDENTIFIER", "rais"),
            field("TARGET", "rais::x"),
            field("RAIS_GROUP", "web"),
            field("RAIS_LEFT", "2"),
            field("MESSAGE", "two\nlines group=web left=2"),
        ];
        assert_eq!(told, wanted);
        let cut = next(&listener).pop().unwrap().1;
        assert_eq!(cut.len(), LONGEST);
    }

    #[test]
    fn a_journal_that_stands_still_is_not_waited_for_and_the_lost_are_counted() {
        let (journal, listener) = journal("full");
        let subscriber = tracing_subscriber::registry().with(journal);
        tracing::subscriber::with_default(subscriber, || {
            for n in 0..100_000 {
                tracing::info!(n, "line");
            }
            let taken = next(&listener);
            assert_eq!(taken.last().unwrap().1, "line n=0");
            tracing::info!("after");
        });
        listener.set_nonblocking(true).unwrap();
        let mut said = Vec::new();
        let mut buffer = vec![0; 1 << 12];
        while let Ok(length) = listener.recv(&mut buffer) {
            said.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
        let about = said.last().unwrap();
        assert!(about.contains(" log lines were lost") || about.contains("after"), "{about}");
        assert!(said.iter().any(|line| line.contains(" log lines were lost")), "{}", said.len());
    }
}
