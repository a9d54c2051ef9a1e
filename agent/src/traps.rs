//! SNMP notifications: what `docs/mib/RAIS-MIB.txt` describes, sent to where the group's
//! configuration says.
//!
//! Each destination has a queue and a task of its own: one that is dead delays neither the others
//! nor anything else. What finds no room is dropped and counted.

mod engine;
mod mib;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_snmp::client::Retry;
use async_snmp::transport::UdpHandle;
use async_snmp::v3::{AuthProtocol, AuthoritativeEngine, PrivProtocol};
use async_snmp::{Auth, Client, UsmConfig};
use rais_common::time::Time;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::clock;
use crate::config::checked::{self, TrapAuth, TrapPrivacy, TrapSecurity};
use crate::group::HostId;

pub use engine::{EngineError, open_engine, shown_engine_id};

/// Most notifications that wait for one destination.
const QUEUE: usize = 256;

/// An inform that is not acknowledged for so long is sent again,
const ANSWER: Duration = Duration::from_secs(2);
/// so often,
const RETRIES: u32 = 3;
/// after so long.
const PAUSE: Duration = Duration::from_secs(1);

/// What a notification is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An address is online on this host.
    Acquire,
    /// This host could not take an address.
    AcquireFail,
    /// This host no longer serves an address.
    Release,
    /// The release script or the interface failed.
    ReleaseFail,
    /// The tests of this host began to fail.
    TestFailed,
    /// No host can take an address.
    CannotAssign,
}

/// One notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap {
    /// What it is about.
    pub kind: Kind,
    /// The service address; none for [`Kind::TestFailed`].
    pub address: Option<IpAddr>,
    /// Why, in words.
    pub reason: String,
}

/// What became of a group's notifications, each once for each destination.
#[derive(Debug, Default)]
pub struct Counters {
    sent: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

impl Counters {
    /// How many were sent (informs: acknowledged), failed, and found no room.
    #[must_use]
    pub fn all(&self) -> [(&'static str, u64); 3] {
        [
            ("sent", self.sent.load(Ordering::Relaxed)),
            ("failed", self.failed.load(Ordering::Relaxed)),
            ("dropped", self.dropped.load(Ordering::Relaxed)),
        ]
    }
}

/// Who speaks.
#[derive(Clone, Debug)]
pub struct Speaker {
    /// Name of the group.
    pub group: String,
    /// This host.
    pub host: HostId,
    /// For notifications of version 3 that nobody acknowledges.
    pub engine: Option<AuthoritativeEngine>,
}

/// Sends the notifications of one group. Those that wait are lost when it is dropped; see
/// [`finish`](Self::finish).
#[derive(Debug)]
pub struct Traps {
    queues: Vec<mpsc::Sender<Arc<Trap>>>,
    tasks: JoinSet<()>,
    counters: Arc<Counters>,
}

impl Traps {
    /// Sends to these destinations, on `runtime`. Without a configuration nothing is sent.
    #[must_use]
    pub fn start(runtime: &Handle, config: Option<&checked::Traps>, speaker: &Speaker) -> Self {
        Self::go_on(runtime, config, speaker, Arc::default())
    }

    /// As [`start`](Self::start), and goes on counting.
    #[must_use]
    pub fn go_on(
        runtime: &Handle,
        config: Option<&checked::Traps>,
        speaker: &Speaker,
        counters: Arc<Counters>,
    ) -> Self {
        let mut traps = Self { queues: Vec::new(), tasks: JoinSet::new(), counters };
        let Some(config) = config else { return traps };
        let started = clock::now();
        for &destination in &config.destinations {
            let (queue, waiting) = mpsc::channel(QUEUE);
            let sink = Sink {
                destination,
                inform: config.inform,
                security: config.security.clone(),
                speaker: speaker.clone(),
                started,
                counters: Arc::clone(&traps.counters),
                client: None,
                complained: false,
            };
            traps.tasks.spawn_on(sink.run(waiting), runtime);
            traps.queues.push(queue);
        }
        traps
    }

    /// What became of the notifications.
    #[must_use]
    pub const fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Queues a notification for every destination; never waits.
    pub fn send(&self, trap: Trap) {
        let trap = Arc::new(trap);
        for queue in &self.queues {
            if queue.try_send(Arc::clone(&trap)).is_err() {
                self.counters.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Sends what waits, for no longer than `limit`.
    pub async fn finish(mut self, limit: Duration) {
        self.queues.clear();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(limit, all).await.is_err() {
            tracing::debug!("notifications are left");
        }
    }
}

/// One destination.
struct Sink {
    destination: SocketAddr,
    inform: bool,
    security: TrapSecurity,
    speaker: Speaker,
    started: Time,
    counters: Arc<Counters>,
    /// None before the first notification, and after one that failed.
    client: Option<Client<UdpHandle>>,
    /// It was said that it fails, and nothing was sent since.
    complained: bool,
}

impl Sink {
    async fn run(mut self, mut waiting: mpsc::Receiver<Arc<Trap>>) {
        while let Some(trap) = waiting.recv().await {
            match self.deliver(&trap).await {
                Ok(()) => {
                    self.counters.sent.fetch_add(1, Ordering::Relaxed);
                    self.complained = false;
                }
                Err(error) => {
                    self.counters.failed.fetch_add(1, Ordering::Relaxed);
                    self.client = None;
                    self.complain(&error);
                }
            }
        }
    }

    /// Says once why notifications do not get there.
    fn complain(&mut self, error: &str) {
        if !std::mem::replace(&mut self.complained, true) {
            let (group, destination) = (&self.speaker.group, self.destination);
            tracing::warn!(group, "SNMP notifications do not get to {destination}: {error}");
        }
    }

    async fn deliver(&mut self, trap: &Trap) -> Result<(), String> {
        if self.client.is_none() {
            self.client = Some(self.connect().await?);
        }
        let Some(client) = &self.client else { return Ok(()) };
        let (oid, values) = mib::notification(trap, &self.speaker);
        let uptime = hundredths(clock::now().since(self.started));
        let sent = if self.inform {
            client.send_inform(&oid, uptime, values).await
        } else {
            client.send_trap(&oid, uptime, values).await
        };
        sent.map_err(|e| e.to_string())
    }

    async fn connect(&self) -> Result<Client<UdpHandle>, String> {
        let auth = auth(&self.security)?;
        let retry = Retry::fixed(RETRIES, PAUSE).map_err(|e| e.to_string())?;
        let mut builder = Client::builder(self.destination, auth);
        builder = builder.request_timeout(ANSWER).send_timeout(ANSWER).retry(retry);
        if let (false, Some(engine)) = (self.inform, &self.speaker.engine) {
            builder = builder.local_authoritative_engine(engine.clone());
        }
        builder.connect().await.map_err(|e| e.to_string())
    }
}

/// How the protocol's implementation is told who speaks.
fn auth(security: &TrapSecurity) -> Result<Auth, String> {
    match security {
        TrapSecurity::Community(community) => Ok(Auth::v2c(community.0.as_str())),
        TrapSecurity::User(user) => {
            let auth = match user.auth {
                TrapAuth::Sha256 => AuthProtocol::Sha256,
                TrapAuth::Sha512 => AuthProtocol::Sha512,
            };
            let privacy = match user.privacy {
                TrapPrivacy::Aes128 => PrivProtocol::Aes128,
                TrapPrivacy::Aes256 => PrivProtocol::Aes256Blumenthal,
            };
            UsmConfig::new(user.name.clone())
                .auth_priv(auth, &user.auth_secret.0, privacy, &user.privacy_secret.0)
                .map(Auth::from)
                .map_err(|e| e.to_string())
        }
    }
}

/// A `TimeTicks`, which begins again at 0 after 497 days.
fn hundredths(span: Duration) -> u32 {
    let wrapped = (span.as_millis() / 10) % (1 << 32);
    u32::try_from(wrapped).unwrap_or_default()
}

#[cfg(test)]
mod tests;
