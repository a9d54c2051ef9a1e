//! `rais status` on a terminal, and watched: tables, colours, and a screen that is drawn anew.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use nix::pty::{Winsize, openpty};
use rais::api::{Control, SOCKET_NAME, claim};
use rais::config::checked::SocketAccess;
use rais::config::plan::Plan;
use rais::events::EventLog;
use rais::status::{Group, Status, Test};
use rais_tests::netns::binary;
use tokio::sync::oneshot;

/// An agent whose one group has a talkative test.
struct Fake(EventLog);

impl Control for Fake {
    async fn status(&self) -> Status {
        let name = "talk".to_owned();
        let detail = "much to say ".repeat(20);
        let test = Test { name, passing: true, since_s: 1, detail };
        let group = Group { name: "web".to_owned(), tests: vec![test], ..Group::default() };
        Status { groups: vec![group], ..Status::default() }
    }

    fn events(&self) -> &EventLog {
        &self.0
    }

    async fn relocate(&self, _: Option<String>, _: IpAddr, _: IpAddr) -> Result<(), String> {
        Ok(())
    }

    async fn reload(&self) -> Result<Plan, String> {
        Ok(Plan::default())
    }

    async fn quiesce(&self, _: Option<String>, _: bool) -> Result<(), String> {
        Ok(())
    }
}

/// Runs `client` with a socket at which an agent answers until the client has returned.
async fn with_agent<T: Send + 'static>(
    name: &str,
    client: impl FnOnce(&str) -> T + Send + 'static,
) -> T {
    let dir = std::env::temp_dir().join(format!("rais-tty-{name}-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let server = claim(&dir).unwrap().listen(SocketAccess::default()).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(Arc::new(Fake(EventLog::new())), async {
        stopped.await.ok();
    }));
    let socket: PathBuf = dir.join(SOCKET_NAME);
    let asked = tokio::task::spawn_blocking(move || client(socket.to_str().unwrap()));
    let result = asked.await.unwrap();
    stop.send(()).unwrap();
    serving.await.unwrap();
    fs::remove_dir_all(&dir).ok();
    result
}

fn rais(arguments: &[&str], socket: &str) -> Command {
    let mut command = Command::new(binary("rais").unwrap());
    command.args(arguments).args(["--socket", socket]).env("TERM", "xterm").stdin(Stdio::null());
    for name in ["NO_COLOR", "COLUMNS", "LINES", "RUST_BACKTRACE", "RUST_LOG"] {
        command.env_remove(name);
    }
    command
}

/// Starts the command on a terminal of so many columns and rows. What it writes can be read.
fn on_terminal(mut command: Command, columns: u16, rows: u16) -> (Child, File) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let ends = openpty(Some(&size), None).unwrap();
    let child = command.stdout(ends.slave).stderr(Stdio::inherit()).spawn().unwrap();
    // The command holds the slave still: without it the master would never end.
    drop(command);
    (child, ends.master.into())
}

/// All that a command writes to a terminal of so many columns until it ends.
fn written(command: Command, columns: u16) -> String {
    let (mut child, mut master) = on_terminal(command, columns, 24);
    let mut bytes = Vec::new();
    // Linux says EIO where the last process has closed the slave (pty(7) calls it a hang-up).
    drop(master.read_to_end(&mut bytes));
    assert!(child.wait().unwrap().success());
    String::from_utf8(bytes).unwrap().replace("\r\n", "\n")
}

/// Columns of the widest table.
fn widest(text: &str) -> usize {
    let rows = text.lines().filter(|line| line.starts_with('│'));
    rows.map(|line| line.chars().count()).max().unwrap()
}

#[tokio::test]
async fn tables_are_as_wide_as_the_terminal_and_colours_can_be_forbidden() {
    with_agent("tables", |socket| {
        let status = |columns, environment: &[(&str, &str)]| {
            let mut command = rais(&["status"], socket);
            command.envs(environment.iter().copied());
            written(command, columns)
        };
        let plain = status(60, &[]);
        assert!(plain.contains("\u{1b}[31mnot ok\u{1b}[0m"), "{plain}");
        assert!((41..=60).contains(&widest(&plain)), "{plain}");
        let wide = status(120, &[]);
        assert!((61..=120).contains(&widest(&wide)), "{wide}");
        // What the shell says goes first.
        let told = status(120, &[("COLUMNS", "60")]);
        assert!(widest(&told) <= 60, "{told}");
        assert!(status(60, &[("NO_COLOR", "")]).contains('\u{1b}'));
        for environment in [("NO_COLOR", "1"), ("TERM", "dumb")] {
            let text = status(60, &[environment]);
            assert!(!text.contains('\u{1b}') && text.contains('│'), "{text}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_watched_status_is_drawn_over_the_last_one() {
    let (text, rest) = with_agent("watch", |socket| {
        let (mut child, mut master) = on_terminal(rais(&["status", "--watch"], socket), 60, 8);
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        let looks = |bytes: &[u8]| bytes.windows(3).filter(|part| part == b"\x1b[H").count();
        // The first clears the screen, the second is the first look, the third the next one.
        while looks(&bytes) < 3 || !bytes.ends_with(b"\x1b[J") {
            let length = master.read(&mut buffer).unwrap();
            bytes.extend_from_slice(&buffer[..length]);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let rest = text.split("\u{1b}[H").skip(2).map(str::to_owned).collect::<Vec<_>>();
        (text, rest)
    })
    .await;
    assert!(text.starts_with("\u{1b}[H\u{1b}[J\u{1b}[H"), "{text:?}");
    for look in rest {
        // Eight rows: the last is the cursor's.
        assert_eq!(look.matches('\n').count(), 7, "{look:?}");
        assert!(look.contains(" more lines\u{1b}[K\r\n\u{1b}[J"), "{look:?}");
        assert!(!look.contains("\u{1b}[2J"), "{look:?}");
    }
}

#[tokio::test]
async fn a_watched_status_in_a_pipe_is_one_look_after_the_other_until_the_agent_ends() {
    let (mut plain, mut json) = with_agent("pipe", |socket| {
        let start = |arguments: &[&str]| {
            let mut command = rais(arguments, socket);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let (mut plain, mut json) =
            (start(&["status", "--watch"]), start(&["status", "--watch", "--json"]));
        let lines = |child: &mut Child| BufReader::new(child.stdout.take().unwrap()).lines();
        let mut looks = lines(&mut plain).map(Result::unwrap);
        let first: Vec<String> = looks.by_ref().take_while(|line| !line.is_empty()).collect();
        assert!(first[0].starts_with("rais  on host 0.0.0.0 "), "{first:#?}");
        assert!(first.iter().all(|line| !line.contains('\u{1b}')), "{first:#?}");
        assert_eq!(looks.next().unwrap(), first[0]);
        for line in lines(&mut json).take(2) {
            let status: Status = serde_json::from_str(&line.unwrap()).unwrap();
            assert_eq!(status.groups[0].name, "web");
        }
        (plain, json)
    })
    .await;
    // Their output was closed, which is an end like any other; the agent's is an error.
    for child in [&mut plain, &mut json] {
        let code = child.wait().unwrap().code();
        assert!(matches!(code, Some(0 | 3)), "{code:?}");
    }
}

#[tokio::test]
async fn a_watch_ends_with_the_agent() {
    let child = with_agent("end", |socket| {
        let mut command = rais(&["status", "--watch"], socket);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut first).unwrap();
        (child, output)
    })
    .await;
    let (child, mut output) = child;
    drop(output.read_to_end(&mut Vec::new()));
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(3));
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert!(stderr.starts_with("rais: no agent at ") && stderr.contains("--socket"), "{stderr}");
}
