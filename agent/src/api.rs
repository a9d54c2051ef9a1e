//! The control socket `<run_dir>/rais.sock`: JSON lines, one request a line, one reply a line
//! (to follow events: one line an event).
//!
//! Whoever may open the socket may read; changing is for root and the agent's own user. A client
//! can take up little: its line, its time and the number of clients are bounded, and nothing of
//! the agent waits for it. Those who may only read have places of their own, and one at a time is
//! answered. `docs/control-socket.md` has the protocol for others.

mod claim;
pub mod client;
mod places;

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::config::plan::Plan;
use crate::events::{Event, EventLog};
use crate::status::Status;

use places::{Peer, Place, Places};

pub use claim::{Claim, ClaimError, LOCK_NAME, SOCKET_NAME, Server, claim};

/// Version of the requests below.
pub const VERSION: u32 = 1;

/// Longest request, in bytes, newline included.
pub const MAX_REQUEST: usize = 64 << 10;

/// Most clients at a time of those who may change something, and as many of those who may only
/// read.
pub const MAX_CLIENTS: usize = 32;

/// Most clients at a time of one user who may only read.
pub const MAX_OF_USER: usize = 8;

/// A client that asks nothing, or does not take its reply, for so long is let go.
const IDLE: Duration = Duration::from_secs(10);

/// So long the agent has for an answer.
const ANSWER: Duration = Duration::from_secs(5);

/// After the system refused to accept a client (too many open files), so long no more are.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Most events handed to a follower at once.
const PAGE: usize = 256;

/// What the socket needs of the agent.
pub trait Control: Send + Sync + 'static {
    /// The status now.
    fn status(&self) -> impl Future<Output = Status> + Send;

    /// What happened.
    fn events(&self) -> &EventLog;

    /// Quiesces (`on`) or resumes this host in `group`, or in all groups.
    ///
    /// The error is the reason why not, in words for the operator.
    fn quiesce(
        &self,
        group: Option<String>,
        on: bool,
    ) -> impl Future<Output = Result<(), String>> + Send;

    /// Has an address moved to a host, in `group` or in the group that has the address, and waits
    /// until it is there.
    ///
    /// The error is the reason why not, in words for the operator.
    fn relocate(
        &self,
        group: Option<String>,
        address: IpAddr,
        host: IpAddr,
    ) -> impl Future<Output = Result<(), String>> + Send;

    /// Reads the configuration again and applies what has changed. Says what that was.
    ///
    /// The error is the reason why not, in words for the operator.
    fn reload(&self) -> impl Future<Output = Result<Plan, String>> + Send;
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Command {
    /// The status.
    Status,
    /// The events kept, and with `follow` those to come.
    Events,
    /// Take no new addresses.
    Quiesce,
    /// Take new addresses again.
    Resume,
    /// Move `address` to `host`.
    Move,
    /// Read the configuration again.
    Reload,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// [`VERSION`].
    pub v: u32,
    /// What is asked for.
    pub cmd: Command,
    /// In which group; none: in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// With [`Command::Events`]: those to come, too.
    #[serde(default)]
    pub follow: bool,
    /// With `follow`: only events after the one of this number, if they are those of `log`. A
    /// reader goes on so where it was cut off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// With `after`: [`Reply::log`] of the event of that number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<u64>,
    /// With [`Command::Move`]: what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// With [`Command::Move`]: the id of the host that is to have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<IpAddr>,
}

/// One reply.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// Done.
    pub ok: bool,
    /// Not done, because of this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// To [`Command::Status`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// To [`Command::Reload`]: what was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// To [`Command::Events`] without `follow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<Event>>,
    /// To [`Command::Events`] with `follow`: one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Event>,
    /// To [`Command::Events`]: [`EventLog::id`], another after each start of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<u64>,
    /// So many events before these are no longer kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<u64>,
}

impl Reply {
    fn done() -> Self {
        Self { ok: true, ..Self::default() }
    }

    fn refused(error: impl Into<String>) -> Self {
        Self { error: Some(error.into()), ..Self::default() }
    }
}

impl Server {
    /// Serves clients until `stop` is ready. Those still connected are then cut off.
    pub async fn serve<C: Control>(self, control: Arc<C>, stop: impl Future<Output = ()>) {
        let places = Arc::new(Places::default());
        let mut clients = JoinSet::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            let accepted = tokio::select! {
                () = &mut stop => break,
                Some(_) = clients.join_next() => continue,
                accepted = self.listener().accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(e) => {
                    tracing::warn!("control socket: cannot accept a client: {e}");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let peer = Peer::of(&stream);
            let place = match places.take(peer) {
                Ok(place) => place,
                Err(reason) => {
                    turn_away(&stream, reason);
                    continue;
                }
            };
            let control = Arc::clone(&control);
            clients.spawn(async move {
                if let Err(e) = Client::new(stream, peer, place).serve(control.as_ref()).await {
                    tracing::debug!("control socket: client lost: {e}");
                }
            });
        }
    }
}

/// Tells a client that there is no room, as far as that is possible without waiting.
fn turn_away(stream: &UnixStream, reason: String) {
    if let Ok(line) = line(&Reply::refused(reason)) {
        stream.try_write(&line).ok();
    }
}

/// A reply as it is sent.
fn line(reply: &Reply) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    Ok(line)
}

/// One connected client.
struct Client {
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
    peer: Peer,
    place: Place,
}

impl Client {
    fn new(stream: UnixStream, peer: Peer, place: Place) -> Self {
        let (read, write) = stream.into_split();
        Self { read: BufReader::new(read), write, peer, place }
    }

    /// Answers requests until the client goes, is idle or asks nonsense.
    async fn serve<C: Control>(mut self, control: &C) -> io::Result<()> {
        while let Ok(asked) = timeout(IDLE, self.line()).await {
            let request = match asked? {
                None => return Ok(()),
                Some(Err(reason)) => return self.send(&Reply::refused(reason)).await,
                Some(Ok(text)) => parse(&text),
            };
            match request {
                Ok(Request { cmd: Command::Events, follow: true, group, after, log, .. }) => {
                    let turn = self.place.turn().await;
                    let known = known(control, group.as_deref()).await;
                    drop(turn);
                    if let Err(reason) = known {
                        return self.send(&Reply::refused(reason)).await;
                    }
                    let same = log == Some(control.events().id());
                    let after = after.filter(|_| same).unwrap_or(0);
                    return self.follow(control.events(), group.as_deref(), after).await;
                }
                Ok(request) => {
                    let reply = {
                        let _turn = self.place.turn().await;
                        line(&answer(control, request, self.peer).await)?
                    };
                    self.send_line(&reply).await?;
                }
                Err(reason) => self.send(&Reply::refused(reason)).await?,
            }
        }
        Ok(())
    }

    /// The next request line; none at the end; an error in words where it is too long.
    async fn line(&mut self) -> io::Result<Option<Result<Vec<u8>, String>>> {
        let mut line = Vec::new();
        let limit = MAX_REQUEST as u64 + 1;
        (&mut self.read).take(limit).read_until(b'\n', &mut line).await?;
        Ok(match line.len() {
            0 => None,
            1..=MAX_REQUEST => Some(Ok(line)),
            _ => Some(Err(format!("request longer than {MAX_REQUEST} bytes"))),
        })
    }

    async fn send(&mut self, reply: &Reply) -> io::Result<()> {
        self.send_line(&line(reply)?).await
    }

    async fn send_line(&mut self, line: &[u8]) -> io::Result<()> {
        timeout(IDLE, self.write.write_all(line)).await?
    }

    /// Sends all events after one, then each as it happens, until the client goes or does not take
    /// them.
    async fn follow(
        mut self,
        log: &EventLog,
        group: Option<&str>,
        mut after: u64,
    ) -> io::Result<()> {
        let mut news = log.follow();
        loop {
            let page = log.after(after, PAGE);
            // Who asks for what there is has missed nothing.
            if page.missed > 0 && after > 0 {
                self.send(&Reply { missed: Some(page.missed), ..Reply::done() }).await?;
            }
            for event in &page.events {
                after = event.seq;
                if group.is_none_or(|group| group == event.group) {
                    let event = Some(Event::clone(event));
                    self.send(&Reply { event, log: Some(log.id()), ..Reply::done() }).await?;
                }
            }
            if !page.events.is_empty() {
                continue;
            }
            tokio::select! {
                changed = news.changed() => if changed.is_err() { return Ok(()) },
                // Whatever a follower says, or its end, ends the following.
                _ = self.read.read_u8() => return Ok(()),
            }
        }
    }
}

/// The request in `line`.
///
/// # Errors
/// What is wrong with it, in words for whoever sent it.
pub fn parse(line: &[u8]) -> Result<Request, String> {
    let request: Request =
        serde_json::from_slice(line).map_err(|e| format!("not a request of this agent: {e}"))?;
    if request.v != VERSION {
        return Err(format!(
            "request of version {}; this agent speaks version {VERSION}",
            request.v
        ));
    }
    Ok(request)
}

/// The reply to a request that has one.
async fn answer<C: Control>(control: &C, request: Request, peer: Peer) -> Reply {
    let result = match request.cmd {
        Command::Status => timeout(ANSWER, control.status())
            .await
            .map(|status| only(status, request.group.as_deref())),
        Command::Events => {
            let group = request.group.as_deref();
            Ok(known(control, group).await.map(|()| kept(control.events(), group)))
        }
        Command::Quiesce | Command::Resume | Command::Move | Command::Reload
            if !peer.may_change() =>
        {
            Ok(Err(peer.refusal()))
        }
        Command::Quiesce => set(control, request.group, true).await,
        Command::Resume => set(control, request.group, false).await,
        // It takes as long as scripts may, and the group ends it after that.
        Command::Move => Ok(match (request.address, request.host) {
            (Some(address), Some(host)) => {
                control.relocate(request.group, address, host).await.map(|()| Reply::done())
            }
            (_, _) => Err("a move needs `address` and `host`".to_owned()),
        }),
        // As long as scripts of groups may that are removed.
        Command::Reload => {
            Ok(control.reload().await.map(|plan| Reply { plan: Some(plan), ..Reply::done() }))
        }
    };
    match result {
        Ok(Ok(reply)) => reply,
        Ok(Err(reason)) => Reply::refused(reason),
        Err(_) => Reply::refused(late()),
    }
}

/// The reason where the agent takes too long.
fn late() -> String {
    format!("no answer within {} s", ANSWER.as_secs())
}

/// Whether `group`, where one is named, is one of the agent's.
///
/// The error is the reason why not, with the names there are.
async fn known<C: Control>(control: &C, group: Option<&str>) -> Result<(), String> {
    if group.is_none() {
        return Ok(());
    }
    match timeout(ANSWER, control.status()).await {
        Ok(status) => only(status, group).map(drop),
        Err(_) => Err(late()),
    }
}

async fn set<C: Control>(
    control: &C,
    group: Option<String>,
    on: bool,
) -> Result<Result<Reply, String>, tokio::time::error::Elapsed> {
    let done = timeout(ANSWER, control.quiesce(group, on)).await?;
    Ok(done.map(|()| Reply::done()))
}

/// The status with only `group` in it, where one is named.
fn only(mut status: Status, group: Option<&str>) -> Result<Reply, String> {
    if let Some(wanted) = group {
        if !status.groups.iter().any(|group| group.name == wanted) {
            let names: Vec<_> = status.groups.iter().map(|group| group.name.as_str()).collect();
            return Err(format!("there is no group `{wanted}`; there are: {}", names.join(", ")));
        }
        status.groups.retain(|group| group.name == wanted);
    }
    Ok(Reply { status: Some(status), ..Reply::done() })
}

/// All events kept.
fn kept(log: &EventLog, group: Option<&str>) -> Reply {
    let page = log.after(0, usize::MAX);
    let events = page.events.iter().filter(|event| group.is_none_or(|group| group == event.group));
    Reply {
        events: Some(events.map(|event| Event::clone(event)).collect()),
        missed: Some(page.missed),
        log: Some(log.id()),
        ..Reply::done()
    }
}

#[cfg(test)]
mod tests;
