//! The control socket, over real sockets: request → reply.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tokio::sync::oneshot;

use super::client::{AskError, ask, ask_once};
use super::*;
use crate::config::checked::SocketAccess;
use crate::status::Group;

/// An agent with the groups `web` and `mail`.
#[derive(Default)]
struct Fake {
    log: EventLog,
    quiesced: Mutex<Vec<(Option<String>, bool)>>,
    stuck: bool,
}

impl Control for Fake {
    async fn status(&self) -> Status {
        if self.stuck {
            std::future::pending::<()>().await;
        }
        let group = |name: &str| Group { name: name.to_owned(), ..Group::default() };
        Status { groups: vec![group("web"), group("mail")], ..Status::default() }
    }

    fn events(&self) -> &EventLog {
        &self.log
    }

    async fn relocate(
        &self,
        group: Option<String>,
        address: IpAddr,
        host: IpAddr,
    ) -> Result<(), String> {
        Err(format!("{address} to {host} in {group:?}"))
    }

    async fn reload(&self) -> Result<Plan, String> {
        Ok(Plan::default())
    }

    async fn quiesce(&self, group: Option<String>, on: bool) -> Result<(), String> {
        if group.as_deref() == Some("none") {
            return Err("there is no group `none`".to_owned());
        }
        self.quiesced.lock().unwrap().push((group, on));
        Ok(())
    }
}

/// A run directory that goes with the test.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rais-api-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join(SOCKET_NAME)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn request(cmd: Command) -> Request {
    Request {
        v: VERSION,
        cmd,
        group: None,
        follow: false,
        after: None,
        log: None,
        address: None,
        host: None,
    }
}

/// Runs `client` on a thread of its own against a server for `fake`.
async fn with_server<T: Send + 'static>(
    name: &str,
    fake: Fake,
    client: impl FnOnce(&Path, &Fake) -> T + Send + 'static,
) -> T {
    let dir = Dir::new(name);
    let server = claim(&dir.0).unwrap().listen(SocketAccess::default()).unwrap();
    let fake = Arc::new(fake);
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(Arc::clone(&fake), async {
        stopped.await.ok();
    }));
    let socket = dir.socket();
    let result = tokio::task::spawn_blocking(move || client(&socket, &fake)).await.unwrap();
    stop.send(()).unwrap();
    serving.await.unwrap();
    assert!(!dir.socket().exists(), "the socket goes with its server");
    result
}

/// Sends `text` as it is and reads all that comes back until the server hangs up or is silent.
fn raw(socket: &Path, text: &[u8], lines: usize) -> Vec<Reply> {
    use std::io::{BufRead, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(text).unwrap();
    let read = std::io::BufReader::new(stream);
    let replies = read.lines().take(lines);
    replies.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
}

fn errors(replies: &[Reply]) -> Vec<&str> {
    replies.iter().map(|reply| reply.error.as_deref().unwrap_or("none")).collect()
}

#[tokio::test]
async fn status_of_all_groups_or_of_one() {
    with_server("status", Fake::default(), |socket, _| {
        let names = |group: Option<&str>| {
            let group = group.map(str::to_owned);
            let reply = ask_once(socket, &Request { group, ..request(Command::Status) })?;
            Ok::<_, AskError>(
                reply.status.unwrap().groups.into_iter().map(|g| g.name).collect::<Vec<_>>(),
            )
        };
        assert_eq!(names(None).unwrap(), ["web", "mail"]);
        assert_eq!(names(Some("mail")).unwrap(), ["mail"]);
        assert_eq!(
            names(Some("ftp")).unwrap_err().to_string(),
            "there is no group `ftp`; there are: web, mail"
        );
    })
    .await;
}

#[tokio::test]
async fn quiesce_and_resume_reach_the_agent() {
    with_server("quiesce", Fake::default(), |socket, fake| {
        ask_once(socket, &request(Command::Quiesce)).unwrap();
        let group = Some("web".to_owned());
        ask_once(socket, &Request { group: group.clone(), ..request(Command::Resume) }).unwrap();
        assert_eq!(*fake.quiesced.lock().unwrap(), [(None, true), (group, false)]);
        let group = Some("none".to_owned());
        let refusal = ask_once(socket, &Request { group, ..request(Command::Quiesce) });
        assert!(matches!(refusal, Err(AskError::Refused(why)) if why.contains("`none`")));
    })
    .await;
}

#[tokio::test]
async fn others_may_read_and_not_change() {
    let fake = Fake::default();
    for change in [Command::Quiesce, Command::Resume, Command::Move, Command::Reload] {
        let reply = answer(&fake, request(change), Peer::user(1_000)).await;
        let why = "only root and the agent's own user may do this; it was asked by user id 1000";
        assert_eq!(reply.error.unwrap(), why);
    }
    let root = Peer::user(0);
    assert_eq!(answer(&fake, request(Command::Reload), root).await.plan, Some(Plan::default()));
    assert!(answer(&fake, request(Command::Status), Peer::user(1_000)).await.ok);
    assert!(answer(&fake, request(Command::Events), Peer::user(1_000)).await.ok);
    assert!(fake.quiesced.lock().unwrap().is_empty());
}

#[tokio::test]
async fn events_are_kept_and_followed() {
    with_server("events", Fake::default(), |socket, fake| {
        let event = |group: &str| Event { group: group.to_owned(), ..Event::default() };
        fake.log.push(event("web"));
        fake.log.push(event("mail"));
        let reply = ask_once(socket, &request(Command::Events)).unwrap();
        assert_eq!((reply.events.unwrap().len(), reply.missed), (2, Some(0)));

        let group = Some("web".to_owned());
        let follow = Request { follow: true, group, ..request(Command::Events) };
        let mut answers = ask(socket, &follow).unwrap();
        let mut next = || answers.next_reply().unwrap().unwrap().event.unwrap().seq;
        assert_eq!(next(), 1);
        fake.log.push(event("mail"));
        fake.log.push(event("web"));
        assert_eq!(next(), 4);
        fake.log.push(event("web"));
        assert_eq!(next(), 5);

        for follow in [false, true] {
            let group = Some("ftp".to_owned());
            let none = Request { group, follow, ..request(Command::Events) };
            let refused = ask_once(socket, &none).unwrap_err().to_string();
            assert_eq!(refused, "there is no group `ftp`; there are: web, mail");
        }
    })
    .await;
}

// A reader that was cut off after event 1 → goes on after it; of another log → from the beginning.
#[tokio::test]
async fn a_follower_goes_on_where_it_was() {
    with_server("goes-on", Fake::default(), |socket, fake| {
        fake.log.push(Event::default());
        fake.log.push(Event::default());
        let first = |after, log| {
            let follow = Request { follow: true, after, log, ..request(Command::Events) };
            let reply = ask(socket, &follow).unwrap().next_reply().unwrap().unwrap();
            (reply.event.unwrap().seq, reply.log)
        };
        let (seq, log) = first(None, None);
        assert_eq!(seq, 1);
        assert!(log.is_some());
        assert_eq!(first(Some(1), log), (2, log));
        assert_eq!(first(Some(1), log.map(|id| id - 1)), (1, log));
        assert_eq!(first(Some(1), None), (1, log));
    })
    .await;
}

#[tokio::test]
async fn a_follower_that_does_not_read_holds_nobody_up() {
    with_server("slow", Fake::default(), |socket, fake| {
        let follow = Request { follow: true, ..request(Command::Events) };
        let mut slow = ask(socket, &follow).unwrap();
        let detail = Some("x".repeat(1_000));
        let total = crate::events::KEPT * 4;
        for _ in 0..total {
            fake.log.push(Event { detail: detail.clone(), ..Event::default() });
        }
        let (mut seen, mut missed, mut last) = (0, 0, 0);
        while last < total as u64 {
            let reply = slow.next_reply().unwrap().unwrap();
            missed += reply.missed.unwrap_or(0);
            if let Some(event) = reply.event {
                seen += 1;
                last = event.seq;
            }
        }
        // Those that were gone before the first was sent are not counted as missed.
        assert!(seen + missed <= total as u64 && seen >= crate::events::KEPT as u64);
    })
    .await;
}

#[tokio::test]
async fn nonsense_gets_a_reason() {
    with_server("nonsense", Fake::default(), |socket, _| {
        let text = b"what?\n{\"v\":2,\"cmd\":\"status\"}\n{\"v\":1,\"cmd\":\"dance\"}\n\
            {\"v\":1,\"cmd\":\"status\",\"grp\":\"web\"}\n\xff\xfe\n{\"v\":1,\"cmd\":\"status\"}\n\
            {\"v\":1,\"cmd\":\"move\",\"address\":\"10.77.0.100\"}\n";
        let replies = raw(socket, text, 7);
        let errors = errors(&replies);
        assert!(errors[0].starts_with("not a request of this agent: expected value"), "{errors:?}");
        assert_eq!(errors[1], "request of version 2; this agent speaks version 1");
        assert!(errors[2].contains("unknown variant `dance`"), "{errors:?}");
        assert!(errors[3].contains("unknown field `grp`"), "{errors:?}");
        assert!(errors[4].starts_with("not a request of this agent"), "{errors:?}");
        assert!(replies[5].ok, "the connection is still good");
        assert_eq!(errors[6], "a move needs `address` and `host`");
    })
    .await;
}

#[tokio::test]
async fn a_line_without_end_is_cut_off() {
    with_server("long", Fake::default(), |socket, _| {
        let replies = raw(socket, &vec![b' '; MAX_REQUEST + 1], 2);
        assert_eq!(errors(&replies), ["request longer than 65536 bytes"]);
    })
    .await;
}

#[tokio::test]
async fn there_is_room_for_so_many_clients() {
    with_server("room", Fake::default(), |socket, _| {
        let follow = Request { follow: true, ..request(Command::Events) };
        let clients: Vec<_> = (0..MAX_CLIENTS).map(|_| ask(socket, &follow).unwrap()).collect();
        let replies = raw(socket, b"", 1);
        assert_eq!(errors(&replies), ["32 clients are connected already; try again later"]);
        drop(clients);
        // Places come free as the server notices that clients went.
        let free = (0..1_000).any(|_| ask_once(socket, &request(Command::Status)).is_ok());
        assert!(free);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_does_not_answer_is_reported() {
    let fake = Fake { stuck: true, ..Fake::default() };
    let reply = answer(&fake, request(Command::Status), Peer::user(0)).await;
    assert_eq!(reply.error.unwrap(), "no answer within 5 s");
}

#[tokio::test(start_paused = true)]
async fn an_idle_client_is_let_go() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let peer = Peer::user(0);
    let place = Places::default().take(peer).unwrap();
    Client::new(theirs, peer, place).serve(&Fake::default()).await.unwrap();
    drop(ours);
}

#[tokio::test]
async fn one_agent_a_directory() {
    let dir = Dir::new("claim");
    let first = claim(&dir.0).unwrap();
    assert!(matches!(claim(&dir.0), Err(ClaimError::Busy(_))), "claimed");
    let server = first.listen(SocketAccess::default()).unwrap();
    let mode = std::fs::metadata(dir.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let busy = claim(&dir.0).unwrap_err().to_string();
    assert_eq!(
        busy,
        format!("an agent is running already, at {}; stop it first", dir.socket().display())
    );
    drop(server);
    claim(&dir.0).unwrap();
}

#[tokio::test]
async fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
    let dir = Dir::new("dead");
    let live = std::os::unix::net::UnixListener::bind(dir.socket()).unwrap();
    assert!(matches!(claim(&dir.0), Err(ClaimError::Busy(_))), "somebody listens");
    drop(live);
    assert!(dir.socket().exists());
    let gone = ask_once(&dir.socket(), &request(Command::Status));
    assert!(matches!(gone, Err(AskError::NoAgent { .. })));
    let server = claim(&dir.0).unwrap().listen(SocketAccess::default()).unwrap();
    std::os::unix::net::UnixStream::connect(dir.socket()).unwrap();
    drop(server);
}
