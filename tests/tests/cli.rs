//! The `rais` command as a user meets it: output, messages and exit codes of the real binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use rais::api::{Control, SOCKET_NAME, claim};
use rais::config::checked::SocketAccess;
use rais::config::plan::{Change, Fate, GroupPlan, Plan};
use rais::events::{Event, EventLog};
use rais::status::{Group, Status};
use tokio::sync::oneshot;

/// The binary, which lies two directories above this test's executable.
fn rais() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join("rais");
    assert!(path.is_file(), "{} is missing: run `cargo build -p rais` first", path.display());
    path
}

/// Runs the command without a terminal and without the caller's settings.
fn run(args: &[&str]) -> Output {
    let mut command = Command::new(rais());
    command.env_remove("RUST_BACKTRACE").env_remove("RUST_LOG").args(args);
    command.output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("the command ended by itself")
}

/// A directory that goes with the test.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rais-cli-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Writes a file and returns its path.
    fn file(&self, name: &str, text: &str, mode: u32) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn socket(&self) -> String {
        self.0.join(SOCKET_NAME).to_str().unwrap().to_owned()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// A configuration for the loopback interface, which every machine has.
fn config(seal: &str) -> String {
    format!(
        "[[group]]\n\
         name = \"web\"\n\
         address = \"239.77.0.1:7077\"\n\
         control_interfaces = [\"lo\"]\n\
         service_interface = \"lo\"\n\
         {seal}\n"
    )
}

#[test]
fn a_new_key_is_accepted_and_never_the_same() {
    let dir = Dir::new("keygen");
    let keys: Vec<_> = (0..2).map(|_| stdout(&run(&["keygen"])).to_owned()).collect();
    assert_ne!(keys[0], keys[1]);
    assert!(keys[0].len() == 65 && keys[0].ends_with('\n'), "{:?}", keys[0]);

    let key = dir.file("web.key", &keys[0], 0o600);
    let file = dir.file("rais.toml", &config(&format!("key_files = [\"{key}\"]")), 0o644);
    let output = run(&["check", "--config", &file]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).starts_with(&format!("{file}: ok\nhost 127.0.0.1\ngroup web: member")));
    assert!(stdout(&output).contains("sealed (1 key accepted)"));

    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let output = run(&["check", "--config", &file]);
    assert_eq!(code(&output), 2);
    assert_eq!(
        stderr(&output),
        format!(
            "{file}:6:14: key file {key} has mode 0644: others than its owner may use it; run \
             `chmod 600 {key}`\n"
        )
    );
}

#[test]
fn check_tells_all_mistakes_and_run_and_clean_do_so_too() {
    let dir = Dir::new("check");
    let text = config("insecure = true\nheartbeat = 100\nquorom = 1\nfloating = ['224.0.0.1']");
    let text = text.replace("service_interface = \"lo\"", "service_interface = \"rais-none0\"");
    let file = dir.file("rais.toml", &text, 0o644);
    for command in ["check", "run", "clean"] {
        let output = run(&[command, "--config", &file]);
        assert_eq!(code(&output), 2, "{command}");
        assert_eq!(stdout(&output), "");
        let lines: Vec<_> = stderr(&output).lines().collect();
        let starts = [
            "5:21: `service_interface`: there is no interface `rais-none0`; there are: ",
            "7:13: `heartbeat`: the unit is missing",
            "8:1: unknown key `quorom` in [[group]]; did you mean `quorum`?",
            "9:13: `floating`: 224.0.0.1 is a multicast address",
        ];
        assert_eq!(lines.len(), starts.len(), "{lines:#?}");
        for (line, start) in lines.iter().zip(starts) {
            assert!(line.starts_with(&format!("{file}:{start}")), "{line}");
        }
    }
}

#[test]
fn a_missing_file_is_bad_input() {
    let output = run(&["check", "--config", "/nonexistent/rais.toml"]);
    assert_eq!(code(&output), 2);
    assert_eq!(
        stderr(&output),
        "/nonexistent/rais.toml: cannot be opened: No such file or directory (os error 2)\n"
    );
}

#[test]
fn a_file_that_is_no_configuration_is_bad_input() {
    let dir = Dir::new("alien");
    let large = dir.file("large.toml", &"#\n".repeat(3 << 20), 0o644);
    let binary = dir.0.join("binary.toml");
    fs::write(&binary, b"\xff\xfe").unwrap();
    let plain = dir.file("look", "#!/bin/sh\n", 0o644);
    let tested = format!(
        "{}[[group.test]]\nname = \"look\"\nkind = \"script\"\ncommand = \"{plain}\"\n",
        config("insecure = true")
    );
    let tested = dir.file("tested.toml", &tested, 0o644);
    for (file, said) in [
        (
            large.as_str(),
            ": is larger than 4194304 bytes, too large for a configuration".to_owned(),
        ),
        (binary.to_str().unwrap(), ": cannot be read as UTF-8 text: ".to_owned()),
        (tested.as_str(), format!("not executable; run `chmod +x {plain}`")),
    ] {
        let output = run(&["check", "--config", file]);
        assert_eq!((code(&output), stdout(&output)), (2, ""));
        let said = stderr(&output).starts_with(file) && stderr(&output).contains(&said);
        assert!(said, "{}", stderr(&output));
    }
}

#[test]
fn who_may_open_the_socket_and_what_is_logged_is_checked_on_this_machine() {
    let dir = Dir::new("daemon");
    let agent = "[agent]\nsocket_owner = \"root\"\nsocket_group = \"rais-none\"\n";
    let file = dir.file("rais.toml", &format!("{agent}{}", config("insecure = true")), 0o644);
    let output = run(&["check", "--config", &file]);
    assert_eq!((code(&output), stdout(&output)), (2, ""));
    let why = "there is no group `rais-none` on this machine; name another, or make it with \
               `groupadd --system rais-none`";
    assert_eq!(stderr(&output), format!("{file}:3:16: `socket_group`: {why}\n"));

    let file = dir.file("rais.toml", &config("insecure = true"), 0o644);
    let mut command = Command::new(rais());
    let output = command.args(["run", "--config", &file]).env("RAIS_LOG", "loud").output().unwrap();
    assert_eq!(code(&output), 2);
    let why = "\"loud\" is no level; expected off, error, warn, info, debug or trace, alone or \
               after `target=`";
    assert_eq!(stderr(&output), format!("rais: environment: `RAIS_LOG`: {why}\n"));
}

#[test]
fn insecure_is_said() {
    let dir = Dir::new("insecure");
    let file = dir.file("rais.toml", &config("insecure = true"), 0o644);
    let output = run(&["check", "--config", &file]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).contains("INSECURE"));
}

#[test]
fn without_an_agent_the_code_is_three() {
    let dir = Dir::new("none");
    let socket = dir.socket();
    for command in ["status", "events", "quiesce", "resume"] {
        let output = run(&[command, "--socket", &socket]);
        assert_eq!(code(&output), 3, "{command}");
        assert_eq!(
            stderr(&output),
            format!(
                "rais: no agent at {socket}: No such file or directory (os error 2); is `rais run` \
                 running, and is its `run_dir` where --socket points?\n"
            )
        );
    }
}

#[test]
fn wrong_use_is_two() {
    for args in [&[][..], &["status", "--colour"], &["dance"], &["check"], &["keygen", "now"]] {
        let output = run(args);
        assert_eq!(code(&output), 2, "{args:?}");
        assert_eq!(stdout(&output), "");
        assert!(stderr(&output).contains("Usage: rais"), "{}", stderr(&output));
    }
    assert_eq!(code(&run(&["--help"])), 0);
    assert_eq!(stdout(&run(&["--version"])), "rais 0.1.0\n");
}

/// Nothing can be moved to this host, and nobody says so.
const STUCK: [u8; 4] = [10, 77, 0, 99];

/// An agent with one group that refuses to be quiesced in any other.
struct Fake(EventLog);

impl Control for Fake {
    async fn status(&self) -> Status {
        let group = Group { name: "web".to_owned(), ..Group::default() };
        Status { groups: vec![group], ..Status::default() }
    }

    fn events(&self) -> &EventLog {
        &self.0
    }

    async fn relocate(
        &self,
        group: Option<String>,
        address: IpAddr,
        host: IpAddr,
    ) -> Result<(), String> {
        if host == IpAddr::from(STUCK) {
            std::future::pending::<()>().await;
        }
        if group.is_none() { Ok(()) } else { Err(format!("{address} was not moved to {host}")) }
    }

    async fn reload(&self) -> Result<Plan, String> {
        let keys = vec![Change { key: "quorum".to_owned(), how: "1 -> 2".to_owned() }];
        let web = GroupPlan { name: "web".to_owned(), fate: Fate::Changed, keys };
        Ok(Plan { agent: Vec::new(), groups: vec![web] })
    }

    async fn quiesce(&self, group: Option<String>, _on: bool) -> Result<(), String> {
        match group {
            Some(name) if name != "web" => Err(format!("there is no group `{name}`")),
            Some(_) | None => Ok(()),
        }
    }
}

/// An event.
fn leader() -> Event {
    Event {
        time: rais::events::rfc3339(0),
        group: "web".to_owned(),
        kind: "leader".to_owned(),
        to: Some([10, 77, 0, 1].into()),
        ..Event::default()
    }
}

/// Runs `client` while a control socket is served in `dir`.
async fn with_agent(dir: &Dir, client: impl FnOnce(&str, &Fake) + Send + 'static) {
    let fake = Arc::new(Fake(EventLog::new()));
    fake.0.push(leader());
    let server = claim(&dir.0).unwrap().listen(SocketAccess::default()).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(Arc::clone(&fake), async {
        stopped.await.ok();
    }));
    let socket = dir.socket();
    tokio::task::spawn_blocking(move || client(&socket, &fake)).await.unwrap();
    stop.send(()).unwrap();
    serving.await.unwrap();
}

#[tokio::test]
async fn status_in_a_pipe_is_plain_and_json_is_one_object() {
    let dir = Dir::new("status");
    with_agent(&dir, |socket, _| {
        let output = run(&["status", "--socket", socket]);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        assert!(stdout(&output).contains("\ngroup web: leader none, member, not ok"));
        assert!(!stdout(&output).contains('\u{1b}'));

        let output = run(&["status", "--json", "--socket", socket, "--group", "web"]);
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(json["groups"][0]["name"], "web");

        let output = run(&["status", "--socket", socket, "--group", "ftp"]);
        assert_eq!(code(&output), 1);
        assert_eq!(stderr(&output), "rais: there is no group `ftp`; there are: web\n");
    })
    .await;
}

#[tokio::test]
async fn events_for_people_and_for_programs() {
    let dir = Dir::new("events");
    with_agent(&dir, |socket, _| {
        let output = run(&["events", "--socket", socket]);
        assert_eq!(stdout(&output), "1970-01-01T00:00:00.000000Z web leader 10.77.0.1\n");
        let output = run(&["events", "--json", "--socket", socket]);
        assert_eq!(
            stdout(&output),
            "{\"seq\":1,\"time\":\"1970-01-01T00:00:00.000000Z\",\"group\":\"web\",\
             \"kind\":\"leader\",\"to\":\"10.77.0.1\"}\n"
        );
        assert_eq!(code(&output), 0);
    })
    .await;
}

#[tokio::test]
async fn a_reload_shows_its_plan() {
    let dir = Dir::new("reload");
    with_agent(&dir, |socket, _| {
        let output = run(&["reload", "--socket", socket]);
        assert_eq!(stdout(&output), "group web: changed: `quorum` (1 -> 2)\n");
        assert_eq!(code(&output), 0);
        let output = run(&["reload", "--json", "--socket", socket]);
        let plan: Plan = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(plan.to_string(), "group web: changed: `quorum` (1 -> 2)\n");
    })
    .await;
    assert_eq!(code(&run(&["reload", "--socket", &dir.socket()])), 3);
    assert_eq!(code(&run(&["reload", "--config", "f"])), 2);
}

#[tokio::test]
async fn a_refusal_is_one_with_its_reason() {
    let dir = Dir::new("quiesce");
    with_agent(&dir, |socket, _| {
        let output = run(&["quiesce", "--socket", socket]);
        assert_eq!((code(&output), stdout(&output)), (0, "quiesced in all groups\n"));
        let output = run(&["resume", "--socket", socket, "--group", "web"]);
        assert_eq!((code(&output), stdout(&output)), (0, "resumed in group web\n"));
        let output = run(&["quiesce", "--socket", socket, "--group", "ftp"]);
        assert_eq!((code(&output), stdout(&output)), (1, ""));
        assert_eq!(stderr(&output), "rais: there is no group `ftp`\n");
    })
    .await;
}

#[tokio::test]
async fn a_move_says_where_the_address_is_or_why_not() {
    let dir = Dir::new("move");
    with_agent(&dir, |socket, _| {
        let (address, host) = ("10.77.0.100", "10.77.0.2");
        let output = run(&["move", address, host, "--socket", socket]);
        assert_eq!((code(&output), stdout(&output)), (0, "10.77.0.100 is on 10.77.0.2\n"));
        let output = run(&["move", address, host, "--socket", socket, "--group", "web"]);
        assert_eq!((code(&output), stdout(&output)), (1, ""));
        assert_eq!(stderr(&output), "rais: 10.77.0.100 was not moved to 10.77.0.2\n");
        assert_eq!(code(&run(&["move", address, "h2", "--socket", socket])), 2);
        assert_eq!(code(&run(&["move", address, "--socket", socket])), 2);
    })
    .await;
    let none = run(&["move", "10.77.0.100", "10.77.0.2", "--socket", &dir.socket()]);
    assert_eq!(code(&none), 3, "{}", stderr(&none));
}

#[tokio::test]
async fn a_move_that_nobody_ends_is_not_waited_for_for_ever() {
    let dir = Dir::new("stuck");
    with_agent(&dir, |socket, _| {
        let output = run(&["move", "10.77.0.100", "10.77.0.99", "--socket", socket]);
        assert_eq!((code(&output), stdout(&output)), (1, ""));
        assert_eq!(
            stderr(&output),
            "rais: whether the address was moved is not known, ask `rais status` later: the agent \
             has not answered for 5 s: it is stopped, or has no time\n"
        );
    })
    .await;
}

/// Runs the command with something at the socket that says this to whoever comes, or nothing.
fn run_against(name: &str, said: Option<&[u8]>, command: &str) -> Output {
    let dir = Dir::new(name);
    let listener = UnixListener::bind(dir.socket()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = listener.accept().unwrap();
            match said {
                Some(text) => {
                    BufReader::new(&stream).read_line(&mut String::new()).unwrap();
                    stream.write_all(text).unwrap();
                }
                // The client ends it.
                None => drop(stream.read_to_end(&mut Vec::new())),
            }
        });
        run(&[command, "--socket", &dir.socket()])
    })
}

#[test]
fn an_agent_that_says_nothing_or_nonsense_is_told_apart_from_none() {
    let silent = run_against("silent", None, "quiesce");
    let nonsense = run_against("nonsense", Some(b"hello\n"), "status");
    let gone = run_against("gone", Some(b""), "status");
    let bare = run_against("bare", Some(b"{\"ok\":true}\n"), "status");
    let said = [
        (silent, "the agent has not answered for 10 s: it is stopped, or has no time"),
        (nonsense, "the agent's answer cannot be read: expected value at line 1 column 1"),
        (gone, "the agent's answer cannot be read: unexpected end of file"),
        (bare, "the agent's answer holds no status"),
    ];
    for (output, text) in said {
        assert_eq!((code(&output), stdout(&output)), (1, ""));
        assert_eq!(stderr(&output), format!("rais: {text}\n"));
    }
}

// A socket that this user may not open → says so, and who may.
#[test]
fn whoever_may_not_open_the_socket_is_told() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED, NOT TESTED: becoming another user needs root");
        return;
    }
    // A name in a directory of /tmp that others may enter, and a program that they may run.
    let dir = Dir::new("denied");
    let program = dir.0.join("rais");
    fs::copy(rais(), &program).unwrap();
    let listener = UnixListener::bind(dir.socket()).unwrap();
    fs::set_permissions(dir.socket(), Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(&dir.0, Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(&program);
    command.args(["quiesce", "--socket", &dir.socket()]).uid(65_534).gid(65_534);
    let output = command.output().unwrap();
    drop(listener);
    assert_eq!((code(&output), stdout(&output)), (1, ""));
    let said = "Permission denied (os error 13); run this as root, or to look only as a user of \
                the socket's group (`socket_group`)";
    assert_eq!(stderr(&output), format!("rais: {}: {said}\n", dir.socket()));
}

#[tokio::test]
async fn events_that_are_no_longer_kept_are_counted() {
    let dir = Dir::new("missed");
    with_agent(&dir, |socket, fake| {
        for _ in 0..rais::events::KEPT + 2 {
            fake.0.push(leader());
        }
        let output = run(&["events", "--json", "--socket", socket]);
        assert_eq!(code(&output), 0);
        assert_eq!(stderr(&output), "rais: 3 earlier events are no longer kept\n");
        assert!(stdout(&output).starts_with("{\"seq\":4,"));
        assert_eq!(stdout(&output).lines().count(), rais::events::KEPT);
    })
    .await;
}

#[tokio::test]
async fn followed_events_come_as_they_happen() {
    let dir = Dir::new("follow");
    with_agent(&dir, |socket, fake| {
        let mut child = Command::new(rais())
            .args(["events", "--follow", "--json", "--socket", socket])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.next().unwrap().unwrap().starts_with("{\"seq\":1,"));
        fake.0.push(leader());
        assert!(lines.next().unwrap().unwrap().starts_with("{\"seq\":2,"));
        child.kill().unwrap();
        child.wait().unwrap();
    })
    .await;
}
