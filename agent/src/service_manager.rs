//! What the service manager (systemd) is told: that the agent is ready, how it is, that it ends,
//! and that all its drivers go on.
//!
//! A message is a datagram to the socket named in `NOTIFY_SOCKET` (`sd_notify(3)`). None is ever
//! waited for. Without a service manager nothing happens.

use std::collections::BTreeMap;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::clock;

/// Variables of the environment that concern the agent alone, not what it runs.
pub const VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// Time between two looks where there is no watchdog: for the status line only.
const LOOK: Duration = Duration::from_secs(10);

/// So many looks in the time of the watchdog: one may find a driver that was just about to turn.
const LOOKS: u32 = 3;

/// Tells the service manager, where there is one.
#[derive(Debug, Default)]
pub struct ServiceManager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// Who is silent for so long is restarted.
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// By this process's environment.
    #[must_use]
    pub fn of_environment() -> Self {
        let of = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let Some(name) = of("NOTIFY_SOCKET") else { return Self::default() };
        let socket = match open(&name) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!("service manager: `NOTIFY_SOCKET` is {name}: {error}");
                None
            }
        };
        let own = std::process::id();
        let ours = of("WATCHDOG_PID").is_none_or(|pid| pid.parse() == Ok(own));
        let span = of("WATCHDOG_USEC").and_then(|text| text.parse().ok());
        let watchdog = span.filter(|&span| ours && span > 0).map(Duration::from_micros);
        Self { socket, watchdog }
    }

    /// The agent serves; `status` in words.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", line(status)));
    }

    /// How the agent is, in words.
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={}", line(status)));
    }

    /// The configuration is being read again; [`ready`](Self::ready) ends it.
    pub fn reloading(&self) {
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", clock::monotonic().as_micros()));
    }

    /// The agent releases everything, and ends.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=releasing everything");
    }

    /// Time between two [looks](Watch::look).
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.watchdog.map_or(LOOK, |span| (span / LOOKS).max(super::monitor::driver::TURN * 2))
    }

    /// Everything goes on.
    fn alive(&self) {
        if self.watchdog.is_some() {
            self.send("WATCHDOG=1");
        }
    }

    fn send(&self, message: &str) {
        let Some((socket, to)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), to) {
            tracing::debug!("the service manager was not told: {error}");
        }
    }
}

/// A socket to send from, and where to. A name that begins with `@` is an abstract one.
fn open(name: &str) -> io::Result<(UnixDatagram, SocketAddr)> {
    let to = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, to))
}

/// A message has a line for each thing it says.
fn line(text: &str) -> String {
    text.replace('\n', "; ")
}

/// Feeds the watchdog for as long as every driver goes on.
#[derive(Debug, Default)]
pub struct Watch {
    /// The turns each driver had made at the last look.
    last: BTreeMap<String, u64>,
    /// Drivers that had made none since the look before.
    stuck: Vec<String>,
}

impl Watch {
    /// Given how many turns the driver of each group has made: tells the service manager that all
    /// is well, unless one has made none since the last look.
    pub fn look(&mut self, manager: &ServiceManager, turns: BTreeMap<String, u64>) {
        let stands = |(group, n): &(&String, &u64)| self.last.get(*group) == Some(*n);
        let stuck: Vec<_> = turns.iter().filter(stands).map(|(group, _)| group.clone()).collect();
        self.last = turns;
        if stuck.is_empty() {
            manager.alive();
        } else if stuck != self.stuck {
            let groups = stuck.join(", ");
            tracing::error!(
                "no turn of the driver in {:?}: group {groups}; a watchdog is not fed",
                manager.interval()
            );
            manager.status(&format!("the driver stands still: group {groups}"));
        }
        self.stuck = stuck;
    }

    /// Whether a driver stands still.
    #[must_use]
    pub fn is_alarmed(&self) -> bool {
        !self.stuck.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A manager with a watchdog, and what it is told at the socket of this name.
    fn manager(name: &str) -> (ServiceManager, UnixDatagram) {
        let socket = open(name).unwrap();
        let listener = UnixDatagram::bind_addr(&socket.1).unwrap();
        listener.set_nonblocking(true).unwrap();
        (ServiceManager { socket: Some(socket), watchdog: Some(Duration::from_secs(30)) }, listener)
    }

    fn told(listener: &UnixDatagram) -> Vec<String> {
        let mut buffer = [0; 512];
        let mut messages = Vec::new();
        while let Ok(length) = listener.recv(&mut buffer) {
            messages.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
        }
        messages
    }

    #[test]
    fn messages_reach_a_path_and_an_abstract_name() {
        let path = std::env::temp_dir().join(format!("rais-notify-{}", std::process::id()));
        for name in [path.to_str().unwrap(), &format!("@rais-notify-{}", std::process::id())] {
            let (manager, listener) = manager(name);
            manager.ready("2 groups\nand more");
            let before = clock::monotonic();
            manager.reloading();
            manager.stopping();
            let told = told(&listener);
            assert_eq!(told.len(), 3, "{told:?}");
            assert_eq!(told[0], "READY=1\nSTATUS=2 groups; and more");
            let since = told[1].strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
            assert!(since.parse::<u128>().unwrap() >= before.as_micros());
            assert_eq!(told[2], "STOPPING=1\nSTATUS=releasing everything");
        }
        std::fs::remove_file(path).unwrap();
        // Nobody there: nothing happens.
        ServiceManager::default().ready("");
        ServiceManager { socket: open("@rais-none").ok(), watchdog: None }.ready("");
    }

    #[test]
    fn one_driver_that_stands_still_is_enough() {
        let (manager, listener) = manager(&format!("@rais-watch-{}", std::process::id()));
        assert_eq!(manager.interval(), Duration::from_secs(10));
        let turns = |web: u64, mail: Option<u64>| {
            let web = [("web".to_owned(), web)];
            web.into_iter().chain(mail.map(|n| ("mail".to_owned(), n))).collect()
        };
        let mut watch = Watch::default();
        let mut look = |now| {
            watch.look(&manager, now);
            (told(&listener).join("|"), watch.is_alarmed())
        };
        let well = ("WATCHDOG=1".to_owned(), false);
        assert_eq!(look(turns(1, Some(1))), well);
        assert_eq!(look(turns(2, Some(5))), well);
        let alarm = ("STATUS=the driver stands still: group mail".to_owned(), true);
        assert_eq!(look(turns(3, Some(5))), alarm);
        assert_eq!(look(turns(4, Some(5))), (String::new(), true), "said once");
        assert_eq!(look(turns(5, Some(6))), well, "it was only late");
        // A group that has ended is not missed, and one that begins has not stood still.
        assert_eq!(look(turns(6, None)), well);
        assert_eq!(look(turns(7, Some(6))), well);
    }
}
