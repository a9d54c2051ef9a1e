//! The built-in name server: authoritative for one zone, over UDP and TCP, and for nothing else.
//!
//! It has a thread of its own: however many ask, all else that the agent does goes on beside it.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::base::Name;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::{self, Runtime};
use tokio::task::JoinSet;

use super::answer::{Rotation, Transport, answer};
use super::notify::notify;
use super::zone::{Prepared, Zone, by_family, next_serial};
use super::{Backend, DnsError, Publishing, Wanted};
use crate::clock;
use crate::config::checked::{self, NameService};

/// Longest question in a datagram that is looked at.
const MOST_QUESTION: usize = 4_096;

/// Most connections on one address; more wait to be accepted.
const CONNECTIONS: usize = 64;

/// How long a connection may be silent, or an answer take to be read.
const IDLE: Duration = Duration::from_secs(5);

/// Stack of the thread: with locked memory all of it is resident.
const STACK: usize = 512 * 1024;

/// How long to leave a socket alone that has failed, for want of memory or descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// The server. Its sockets are open from when there is first something to say until it is dropped.
pub struct Server {
    told: checked::NameServer,
    apex: Name<Vec<u8>>,
    blank: Zone,
    state: Arc<State>,
    /// The thread; none before there is something to say.
    thread: Option<Runtime>,
    listening: BTreeMap<SocketAddr, JoinSet<()>>,
    /// Secondaries that are being told of a change.
    telling: JoinSet<()>,
}

/// What the sockets share.
struct State {
    apex: Name<Vec<u8>>,
    zone: Mutex<Option<Arc<Prepared>>>,
    rotation: Rotation,
    transfer: Vec<IpAddr>,
}

impl State {
    fn answer(&self, request: &[u8], over: Transport, from: IpAddr) -> Option<Vec<u8>> {
        let zone = self.zone.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let transfers = self.transfer.contains(&from.to_canonical());
        answer(&self.apex, zone.as_deref(), &self.rotation, request, over, transfers)
    }
}

impl Server {
    /// A server that does not listen yet, and knows nothing.
    #[must_use]
    pub fn new(service: &NameService, told: checked::NameServer) -> Self {
        let NameService { zone: apex, name, ttl, .. } = service.clone();
        let serial = next_serial(None, clock::wall_nanos() / 1_000_000_000);
        let nameservers = told.nameservers.clone();
        let (v4, v6) = (Vec::new(), Vec::new());
        let blank = Zone { apex: apex.clone(), name, ttl, nameservers, serial, v4, v6 };
        let state = Arc::new(State {
            apex: apex.clone(),
            zone: Mutex::new(None),
            rotation: Rotation::default(),
            transfer: told.transfer.clone(),
        });
        let (listening, telling) = (BTreeMap::new(), JoinSet::new());
        Self { told, apex, blank, state, thread: None, listening, telling }
    }

    /// Says from now on what is wanted. The serial number, and whether that is news.
    fn say(&mut self, wanted: &Wanted) -> (Option<Arc<Prepared>>, bool) {
        let mut current = self.state.zone.lock().unwrap_or_else(PoisonError::into_inner);
        let Wanted::Addresses(addresses) = wanted else {
            *current = None;
            return (None, false);
        };
        let (v4, v6) = by_family(addresses);
        let same = |said: &&Arc<Prepared>| said.zone().v4 == v4 && said.zone().v6 == v6;
        if let Some(said) = current.as_ref().filter(same) {
            return (Some(Arc::clone(said)), false);
        }
        // Also where it was said before, and nothing was known in between: that costs a secondary
        // one look.
        let last = Some(self.blank.serial);
        self.blank.serial = next_serial(last, clock::wall_nanos() / 1_000_000_000);
        let zone = Arc::new(Prepared::from(Zone { v4, v6, ..self.blank.clone() }));
        *current = Some(Arc::clone(&zone));
        (Some(zone), true)
    }

    /// Listens where it does not yet.
    fn listen(&mut self) -> Result<(), DnsError> {
        let mut failed = None;
        for &address in &self.told.listen {
            if self.listening.contains_key(&address) {
                continue;
            }
            let served = thread(&mut self.thread);
            match served.and_then(|thread| serve(address, &self.state, thread)) {
                Ok(tasks) => {
                    tracing::info!("name service for {} on {address}", self.apex);
                    self.listening.insert(address, tasks);
                }
                Err(source) => failed = failed.or(Some(DnsError::Listen { address, source })),
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

impl Backend for Server {
    fn publish<'a>(&'a mut self, wanted: &'a Wanted) -> Publishing<'a> {
        Box::pin(async move {
            let (zone, news) = self.say(wanted);
            if zone.is_none() && self.listening.is_empty() {
                // A host that has only just begun to look is better not there than of no use:
                // secondaries remember for long that a primary did not know.
                return Ok(None);
            }
            let listening = self.listen();
            let zone = zone.as_deref().map(Prepared::zone);
            // One without addresses helps no secondary.
            if let Some(zone) = zone.filter(|zone| news && !zone.is_empty()) {
                // Who has not answered yet is told of this change instead.
                self.telling = JoinSet::new();
                for secondary in &self.told.notify {
                    self.telling.spawn(notify(*secondary, zone.clone()));
                }
            }
            listening.map(|()| zone.map(|zone| zone.serial.into_int()))
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.shutdown_background();
        }
    }
}

/// The thread that answers, started where it does not run.
fn thread(running: &mut Option<Runtime>) -> io::Result<&Runtime> {
    if running.is_none() {
        let mut builder = runtime::Builder::new_multi_thread();
        builder.worker_threads(1).thread_name("rais-dns").thread_stack_size(STACK);
        *running = Some(builder.enable_io().enable_time().build()?);
    }
    running.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Begins to answer on an address.
fn serve(address: SocketAddr, state: &Arc<State>, thread: &Runtime) -> io::Result<JoinSet<()>> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let socket = std::net::UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    let (listener, socket) = {
        let _its_own = thread.enter();
        (TcpListener::from_std(listener)?, UdpSocket::from_std(socket)?)
    };
    let mut tasks = JoinSet::new();
    tasks.spawn_on(datagrams(socket, Arc::clone(state)), thread.handle());
    tasks.spawn_on(connections(listener, Arc::clone(state)), thread.handle());
    Ok(tasks)
}

async fn datagrams(socket: UdpSocket, state: Arc<State>) {
    let mut buffer = vec![0; MOST_QUESTION];
    loop {
        let (length, from) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!("name service: receiving: {error}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let request = buffer.get(..length).unwrap_or_default();
        if let Some(answer) = state.answer(request, Transport::Udp, from.ip())
            && let Err(error) = socket.try_send_to(&answer, from)
        {
            // As if it were lost on the way.
            tracing::debug!("name service: answering {from}: {error}");
        }
    }
}

async fn connections(listener: TcpListener, state: Arc<State>) {
    let mut open = JoinSet::new();
    loop {
        while open.len() >= CONNECTIONS {
            open.join_next().await;
        }
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => drop(open.spawn(connection(stream, from, Arc::clone(&state)))),
                Err(error) => {
                    tracing::debug!("name service: accepting: {error}");
                    tokio::time::sleep(PAUSE).await;
                }
            },
            Some(_) = open.join_next() => {}
        }
    }
}

/// Answers question after question until the other end closes, says nonsense or falls silent.
async fn connection(mut stream: TcpStream, from: SocketAddr, state: Arc<State>) {
    loop {
        let turn = tokio::time::timeout(IDLE, one_question(&mut stream, from.ip(), &state)).await;
        if !matches!(turn, Ok(Ok(true))) {
            return;
        }
    }
}

/// False where the question is none.
async fn one_question(stream: &mut TcpStream, from: IpAddr, state: &State) -> io::Result<bool> {
    let length = stream.read_u16().await?;
    let mut request = vec![0; usize::from(length)];
    stream.read_exact(&mut request).await?;
    let Some(answer) = state.answer(&request, Transport::Tcp, from) else { return Ok(false) };
    let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
    let mut whole = Vec::with_capacity(answer.len() + 2);
    whole.extend_from_slice(&length.to_be_bytes());
    whole.extend_from_slice(&answer);
    stream.write_all(&whole).await?;
    Ok(true)
}
