//! Bad input, as a user meets it: the real `rais` on a host of its own. Each mistake gives a clear
//! message that names the thing and the remedy, exit code 2, and leaves everything as it was.
//! Needs root; says so where it cannot run, and fails where `CI=true`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rais::config::checked::Interface;
use rais::data_plane::bpf::BpfPlane;
use rais_tests::netns::{Bed, Host, binary};
use rais_tests::wait;

const SERVICE: &str = "10.77.0.100";
const LIMIT: Duration = Duration::from_secs(20);

/// One host, and a configuration for it.
struct Scene {
    host: Host,
    bed: Bed,
    config: String,
}

impl Scene {
    /// None where there is no root, which is said.
    fn new() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "CI must run as root");
            eprintln!("SKIPPED, NOT TESTED: network namespaces need root");
            return None;
        }
        let bed = Bed::new().unwrap();
        let host = bed.host("h1", 1).unwrap();
        // Neither run directory nor bpffs is there yet: the agent has to make both.
        let dir = bed.dir().display();
        let config = format!(
            "[agent]\n\
             run_dir = \"{dir}/agent/run\"\n\
             bpf_dir = \"{dir}/agent/bpf/rais\"\n\
             \n\
             [[group]]\n\
             name = \"web\"\n\
             address = \"239.77.0.1:7077\"\n\
             control_interfaces = [\"eth0\"]\n\
             service_interface = \"eth0\"\n\
             insecure = true\n\
             floating = [\"{SERVICE}\"]\n"
        );
        Some(Self { host, bed, config })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.bed.dir().join(name)
    }

    /// Writes the configuration file.
    fn write(&self, config: &str) -> PathBuf {
        let path = self.path("rais.toml");
        fs::write(&path, config).unwrap();
        path
    }

    fn key(&self, name: &str, mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, "0f".repeat(32)).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    /// Runs `rais` behind the words of `prefix`; one that does not end is ended, with code 124.
    fn rais(&self, prefix: &[&str], arguments: &[&str]) -> Output {
        let mut command = self.host.command("timeout");
        command.args(["--kill-after=5", "20"]).args(prefix).arg(binary("rais").unwrap());
        command.env_remove("RUST_LOG").env_remove("RUST_BACKTRACE").args(arguments);
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// What there is: files and their contents, mounts, the interface with its addresses and
    /// programs.
    fn traces(&self) -> BTreeMap<String, String> {
        let mut traces = BTreeMap::new();
        files(self.bed.dir(), &mut traces);
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let dir = self.bed.dir().to_str().unwrap().to_owned();
        for line in mounts.lines().filter(|line| line.contains(&dir) || line.contains("/sys/")) {
            traces.insert(format!("mount {line}"), String::new());
        }
        for what in [["link", "show"], ["address", "show"]] {
            let seen = self.host.run("ip", &["-d", "-o", what[0], what[1]]).unwrap();
            traces.insert(what.join(" "), seen);
        }
        traces
    }

    /// Runs a command that is to be refused: with code 2, one line on stderr (besides the log) for
    /// each entry of `wanted`, in this order, that contains its words, and no trace.
    fn refused(&self, prefix: &[&str], arguments: &[&str], wanted: &[&[&str]]) {
        let before = self.traces();
        let output = self.rais(prefix, arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        println!("{prefix:?} {arguments:?}:\n{stderr}");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert_eq!(output.stdout, b"", "{arguments:?}");
        let lines: Vec<&str> = stderr.lines().filter(|line| !line.contains("  INFO ")).collect();
        assert_eq!(lines.len(), wanted.len(), "{arguments:?}: {stderr}");
        for (line, words) in lines.iter().zip(wanted) {
            for word in *words {
                assert!(line.contains(word), "`{word}` is not in: {line}");
            }
            assert_eq!(line.matches("(os error").count().max(1), 1, "said twice: {line}");
        }
        let after = self.traces();
        for (what, how) in &after {
            assert_eq!(before.get(what), Some(how), "{arguments:?} changed {what}");
        }
        for what in before.keys() {
            assert!(after.contains_key(what), "{arguments:?} took away {what}");
        }
    }

    /// [`refused`](Self::refused), for `rais check` and `rais run` with this configuration. An
    /// entry that begins with a digit is a place in the file.
    fn both_refuse(&self, config: &str, wanted: &[&[&str]]) {
        let file = self.write(config);
        let file = file.to_str().unwrap();
        let placed: Vec<Vec<String>> = wanted
            .iter()
            .map(|words| words.iter().map(|word| in_file(file, word)).collect())
            .collect();
        let placed: Vec<Vec<&str>> =
            placed.iter().map(|words| words.iter().map(String::as_str).collect()).collect();
        let placed: Vec<&[&str]> = placed.iter().map(Vec::as_slice).collect();
        for command in ["check", "run"] {
            self.refused(&[], &[command, "--config", file], &placed);
        }
    }

    /// `rais check` finds nothing wrong, and `rais run` refuses.
    fn run_refuses(&self, prefix: &[&str], config: &str, words: &[&str]) {
        let file = self.write(config);
        let file = file.to_str().unwrap();
        let before = self.traces();
        let output = self.rais(prefix, &["check", "--config", file]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(self.traces(), before);
        self.refused(prefix, &["run", "--config", file], &[words]);
    }

    /// Starts an agent behind the words of `prefix`, and waits until it serves.
    fn agent(&self, prefix: &[&str]) -> Agent {
        let file = self.write(&self.config);
        let log = self.path("agent.log");
        let mut words = prefix.iter().map(Into::into).chain([binary("rais").unwrap()]);
        let mut command = self.host.command(words.next().unwrap());
        command.args(words).arg("run").arg("--config").arg(file).env_remove("RUST_LOG");
        let child = command.stderr(fs::File::create(&log).unwrap()).spawn().unwrap();
        let mut agent = Agent { child, log };
        wait::until("the address", LIMIT, || {
            assert_eq!(agent.child.try_wait()?, None, "{}", agent.log());
            Ok(self.host.run("ip", &["address"])?.contains(SERVICE).then_some(()))
        })
        .unwrap();
        agent
    }
}

/// A running agent; killed when dropped.
struct Agent {
    child: Child,
    log: PathBuf,
}

impl Agent {
    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// SIGTERM, and its exit code.
    fn end(mut self) -> Option<i32> {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        let status = wait::until("the agent to end", LIMIT, || Ok(self.child.try_wait()?));
        status.unwrap().code()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Words as they are on stderr: a place in the file with the file's name before it.
fn in_file(file: &str, word: &str) -> String {
    if word.starts_with(|c: char| c.is_ascii_digit()) && word.ends_with(": ") {
        format!("{file}:{word}")
    } else {
        word.to_owned()
    }
}

/// Files whose contents change while an agent runs: its log, and maps.
const CHANGING: [&str; 5] = ["agent.log", "LEASES", "TRAFFIC", "COUNTERS", "EVENTS"];

/// Everything below `dir`: permissions and owners, contents of files, numbers of pins.
fn files(dir: &Path, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let about = fs::symlink_metadata(&path).unwrap();
        let changes = CHANGING.iter().any(|name| path.ends_with(name));
        let contents = if about.is_file() && !changes {
            fs::read(&path).map_or_else(|e| e.to_string(), |bytes| format!("{bytes:?}"))
        } else {
            String::new()
        };
        let text = format!("{:o} {} {} {contents}", about.mode(), about.uid(), about.ino());
        if about.is_dir() {
            files(&path, found);
        }
        found.insert(path.display().to_string(), text);
    }
}

/// A user with nothing.
const NOBODY: &[&str] =
    &["setpriv", "--reuid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"];

#[test]
fn each_mistake_in_a_file_is_named_with_its_remedy() {
    let Some(scene) = Scene::new() else { return };
    let with = |old: &str, new: &str| {
        assert!(scene.config.contains(old), "{old}");
        scene.config.replacen(old, new, 1)
    };
    let open = scene.key("open.key", 0o644);
    let open = open.to_str().unwrap();
    let keyed = |path: &str| with("insecure = true", &format!("key_files = [\"{path}\"]"));
    let chmod = format!("run `chmod 600 {open}`");
    scene.host.run("ip", &["link", "add", "bare", "type", "bridge"]).unwrap();
    let cases: &[(String, &[&str])] = &[
        (
            with("insecure = true", "insecure = true\nquorom = 1"),
            &["11:1: ", "unknown key `quorom`", "did you mean `quorum`?"],
        ),
        (
            with("insecure = true", "insecure = true\nheartbeat = 100"),
            &["11:13: ", "`heartbeat`: the unit is missing", "\"100ms\"", "units are us, ms, s"],
        ),
        (
            with("insecure = true", "insecure = true\ntimeout = \"1 parsec\""),
            &["11:11: ", "`timeout`", "1 parsec", "units are us, ms, s"],
        ),
        (
            format!("{}preferred = [\"{SERVICE}\"]\n", scene.config),
            &["11:13: ", SERVICE, "is a service address already, in line 12"],
        ),
        (
            with("service_interface = \"eth0\"", "service_interface = \"eth7\""),
            &["9:21: ", "no interface `eth7`", "there are: bare, eth0, lo"],
        ),
        (
            with("control_interfaces = [\"eth0\"]", "control_interfaces = [\"bare\"]"),
            &["8:23: ", "interface `bare` has no IPv4 address", "239.77.0.1", "give it one"],
        ),
        (
            with("239.77.0.1:7077", "10.77.0.1:7077"),
            &["7:11: ", "10.77.0.1:7077 is not a multicast address", "224.0.0.0/4"],
        ),
        (keyed(open), &["10:14: ", "has mode 0644", &chmod]),
        (keyed("/none.key"), &["10:14: ", "/none.key: No such file", "`rais keygen`"]),
        // Without a key nothing runs, unless that is asked for.
        (
            with("insecure = true\n", ""),
            &["5:1: ", "`key_files` is missing", "`rais keygen`", "`insecure = true`"],
        ),
        (
            with("insecure = true", "insecure = false"),
            &["5:1: ", "`key_files` is missing", "`rais keygen`", "`insecure = true`"],
        ),
    ];
    for (config, words) in cases {
        scene.both_refuse(config, &[words]);
    }
}

#[test]
fn all_mistakes_come_in_one_run_in_the_order_of_the_file() {
    let Some(scene) = Scene::new() else { return };
    let open = scene.key("open.key", 0o604);
    let config = format!(
        "[agent]\n\
         run_dir = \"run\"\n\
         colour = \"red\"\n\
         [[group]]\n\
         name = \"web\"\n\
         address = \"239.77.0.1\"\n\
         control_interfaces = [\"eth0\", \"eth8\"]\n\
         service_interface = \"eth9\"\n\
         key_files = [\"{}\"]\n\
         heartbeat = 100\n\
         timeout = \"35min 1\"\n\
         floating = [\"10.77.0.100\", \"10.77.0.100\", \"10.77.0.1\"]\n\
         quorom = 2\n\
         [[group.test]]\n\
         name = \"shell\"\n\
         kind = \"script\"\n\
         command = \"/none/test\"\n",
        open.display()
    );
    scene.both_refuse(
        &config,
        &[
            &["2:11: ", "absolute path"],
            &["3:1: ", "`colour`", "known are"],
            &["6:11: ", "multicast address and a UDP port"],
            &["7:31: ", "no interface `eth8`"],
            &["8:21: ", "no interface `eth9`"],
            &["9:14: ", "mode 0604", "chmod 600"],
            &["10:13: ", "the unit is missing"],
            &["11:11: ", "the unit is missing after 1"],
            &["12:28: ", "already, in line 12"],
            &["12:43: ", "10.77.0.1 is this host's control address"],
            &["13:1: ", "did you mean `quorum`?"],
            &["17:11: ", "/none/test", "No such file"],
        ],
    );
}

#[test]
fn wrong_use_is_told_with_the_usage() {
    let Some(scene) = Scene::new() else { return };
    for arguments in [&["dance"][..], &["run"], &["run", "--config"], &["check", "--colour"]] {
        let before = scene.traces();
        let output = scene.rais(&[], arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("--help"));
        assert_eq!(scene.traces(), before);
    }
    scene.refused(
        &[],
        &["run", "--config", "/none/rais.toml"],
        &[&["/none/rais.toml: cannot be opened", "No such file"]],
    );
}

#[test]
fn a_foreign_program_is_left_alone() {
    let Some(scene) = Scene::new() else { return };
    let object = scene.path("other.o");
    fs::write(&object, rais::data_plane::bpf::OBJECT).unwrap();
    // Our own object, but brought there by somebody else, and so not ours.
    let words = ["link", "set", "dev", "eth0", "xdpgeneric", "obj", object.to_str().unwrap()];
    scene.host.run("ip", &[&words[..], &["sec", "xdp"]].concat()).unwrap();
    assert!(scene.traces()["link show"].contains("prog/xdp"));
    scene.both_refuse(
        &scene.config,
        &[&["eth0", "XDP program `rais_xdp`", "did not attach", "ip link set dev eth0 xdp off"]],
    );
}

#[test]
fn without_privilege_the_one_thing_missing_is_named() {
    let Some(scene) = Scene::new() else { return };
    let run_dir = scene.path("agent/run").display().to_string();
    scene.run_refuses(
        NOBODY,
        &scene.config,
        &[scene.path("agent").to_str().unwrap(), "Permission denied", "run as root", "`run_dir`"],
    );
    // With directories of its own it comes as far as BPF.
    let own = scene.path("own");
    fs::create_dir(&own).unwrap();
    std::os::unix::fs::chown(&own, Some(65534), None).unwrap();
    let config = scene.config.replace(&run_dir, own.join("run").to_str().unwrap());
    let config = config
        .replace(scene.path("agent/bpf").to_str().unwrap(), own.join("bpf").to_str().unwrap());
    let bpf = format!("bpffs at {}", own.join("bpf/rais").display());
    scene.run_refuses(NOBODY, &config, &[&bpf, "not permitted", "run as root", "CAP_BPF"]);
    // A key of root's cannot be read.
    let key = scene.key("web.key", 0o600);
    let config = config.replace("insecure = true", &format!("key_files = [\"{}\"]", key.display()));
    let file = scene.write(&config);
    let file = file.to_str().unwrap();
    let place = format!("{file}:10:14: key file {}: Permission denied", key.display());
    for command in ["check", "run"] {
        scene.refused(NOBODY, &[command, "--config", file], &[&[&place, "run as root"]]);
    }
}

#[test]
fn without_bpf_nothing_stays_behind() {
    let Some(scene) = Scene::new() else { return };
    let probe = binary("rais-probe").unwrap();
    let probe = probe.to_str().unwrap();
    let without = |errno| [probe, "without-bpf", "--errno", errno, "--"];
    let words: &[&str] =
        &["map", "Function not implemented", "has no BPF", "Linux 5.18", "CONFIG_BPF_SYSCALL"];
    scene.run_refuses(&without("38"), &scene.config, words);
    // As in a container that forbids it.
    let words: &[&str] = &["map", "not permitted", "run as root", "in a container allow it"];
    scene.run_refuses(&without("1"), &scene.config, words);
    // In a place that is on a bpffs already.
    let bpffs = scene.path("bpf/rais");
    let config = scene
        .config
        .replace(scene.path("agent/bpf/rais").to_str().unwrap(), bpffs.to_str().unwrap());
    scene.run_refuses(&without("38"), &config, &["has no BPF"]);
}

#[test]
fn directories_that_cannot_be_used_are_named() {
    let Some(scene) = Scene::new() else { return };
    let run_dir = scene.path("agent/run").display().to_string();
    let bpf_dir = scene.path("agent/bpf/rais").display().to_string();
    fs::write(scene.path("file"), "").unwrap();
    let file = scene.path("file").display().to_string();
    for (old, new, words) in [
        (&run_dir, file.clone(), ["not a directory", "`run_dir`", "/run/rais"]),
        (&run_dir, format!("{file}/run"), ["Not a directory", "`run_dir`", "/run/rais"]),
        (&run_dir, "/proc/rais".to_owned(), ["/proc/rais: ", "`run_dir`", "/run/rais"]),
        (&bpf_dir, "/proc/rais".to_owned(), ["/proc/rais: ", "`bpf_dir`", "/sys/fs/bpf/rais"]),
        (&bpf_dir, format!("{file}/bpf"), ["Not a directory", "`bpf_dir`", "/sys/fs/bpf/rais"]),
        (
            &bpf_dir,
            scene.path("bpf/rais.1").display().to_string(),
            ["rais.1", "on bpffs cannot have a dot", "choose another `bpf_dir`"],
        ),
    ] {
        scene.run_refuses(&[], &scene.config.replace(old.as_str(), &new), &words);
    }
    // Something is in the way of the socket.
    fs::create_dir_all(scene.path("agent/run/rais.new")).unwrap();
    scene.run_refuses(&[], &scene.config, &["rais.sock: Is a directory", "`run_dir`"]);
}

#[test]
fn a_start_that_fails_late_is_undone() {
    let Some(mut scene) = Scene::new() else { return };
    // The program is attached by the time the control sockets are opened.
    scene.host.run("sysctl", &["-qw", "net.ipv4.igmp_max_memberships=0"]).unwrap();
    scene.run_refuses(
        &[],
        &scene.config,
        &["group `web`: control interface eth0: join", "raise net.ipv4.igmp_max_memberships"],
    );
    scene.host.run("sysctl", &["-qw", "net.ipv4.igmp_max_memberships=20"]).unwrap();
    // The second group fails while the first runs.
    scene.host.start_service().unwrap();
    let second = "[[group]]\nname = \"mail\"\naddress = \"239.77.0.2:7\"\n\
                  control_interfaces = [\"eth0\"]\nservice_interface = \"eth0\"\ninsecure = true\n";
    scene.run_refuses(
        &[],
        &format!("{}{second}", scene.config),
        &[
            "group `mail`: control interface eth0",
            "Address already in use",
            "`ss -ulnp`",
            "`address`",
        ],
    );
    // What an agent before left stays for the next one.
    let agent = scene.agent(&[]);
    assert_eq!(agent.end(), Some(0));
    scene.host.run("ip", &["link", "add", "other", "type", "bridge"]).unwrap();
    scene.host.run("ip", &["link", "set", "other", "up"]).unwrap();
    let second = second.replace("service_interface = \"eth0\"", "service_interface = \"other\"");
    let file = scene.write(&format!("{}{second}", scene.config));
    let links = scene.traces()["link show"].clone();
    let output = scene.rais(&[], &["run", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let count = |text: &str| text.matches("prog/xdp").count();
    assert_eq!((count(&links), count(&scene.traces()["link show"])), (1, 1));
}

#[test]
fn a_kernel_that_measures_no_pressure_is_named() {
    let Some(scene) = Scene::new() else { return };
    let config =
        format!("{}[[group.load]]\nkind = \"pressure\"\nresource = \"io\"\n", scene.config);
    let file = scene.write(&config);
    let line = config.lines().count();
    let place = format!("{}:{line}:12: `resource`", file.display());
    let hide = "mount -t tmpfs none /proc/pressure && exec \"$@\"";
    let without = ["unshare", "--mount", "sh", "-c", hide, "sh"];
    let words = [&*place, "does not measure", "/proc/pressure/io: No such file", "CONFIG_PSI"];
    for command in ["check", "run"] {
        scene.refused(&without, &[command, "--config", file.to_str().unwrap()], &[&words]);
    }
}

#[test]
fn a_running_agent_is_not_disturbed() {
    let Some(scene) = Scene::new() else { return };
    let agent = scene.agent(&[]);
    let socket = scene.path("agent/run/rais.sock");
    let socket = socket.to_str().unwrap();
    scene.run_refuses(
        &[],
        &scene.config,
        &["an agent is running already, at", socket, "stop it first"],
    );
    // One with a run directory of its own, but with the same maps.
    let run_dir = scene.path("agent/run").display().to_string();
    let config = scene.config.replace(&run_dir, scene.path("other").to_str().unwrap());
    scene.run_refuses(&[], &config, &["another agent is running", "stop it first", "`bpf_dir`"]);
    // And one with maps of its own as well.
    let bpf_dir = scene.path("agent/bpf").display().to_string();
    let config = config.replace(&bpf_dir, scene.path("bpf").to_str().unwrap());
    scene.both_refuse(&config, &[&["eth0 already runs", "`rais_xdp`"]]);
    // `clean` is for what a dead one left.
    scene.write(&scene.config);
    let file = scene.path("rais.toml");
    let output = scene.rais(&[], &["clean", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));

    for arguments in
        [&["status"][..], &["events"], &["events", "--follow"], &["quiesce"], &["resume"]]
    {
        let output =
            scene.rais(&[], &[arguments, &["--socket", socket, "--group", "ftp"]].concat());
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(stderr, "rais: there is no group `ftp`; there are: web\n", "{arguments:?}");
    }
    let output = scene.rais(&[], &["status", "--socket", socket]);
    let status = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(status.contains(SERVICE) && status.contains("online"), "{status}");
    assert!(scene.traces()["address show"].contains(SERVICE));
    assert!(!agent.log().contains("released"), "{}", agent.log());
    assert_eq!(agent.end(), Some(0));
    let output = scene.rais(&[], &["status", "--socket", socket]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is `rais run` running"));
}

#[test]
fn without_locked_memory_and_priority_the_agent_only_warns() {
    let Some(scene) = Scene::new() else { return };
    let agent = scene.agent(&[
        "setpriv",
        "--bounding-set=-ipc_lock,-sys_nice",
        "--inh-caps=-ipc_lock,-sys_nice",
        "prlimit",
        "--memlock=65536",
        "--rtprio=0",
    ]);
    let log = agent.log();
    let warnings = log.lines().filter(|line| line.contains("WARN")).count();
    assert!(log.contains("memory is not locked") && log.contains("needs CAP_IPC_LOCK"), "{log}");
    assert!(log.contains("no real-time priority") && log.contains("needs CAP_SYS_NICE"), "{log}");
    // One for the memory, one for each thread of the group.
    assert_eq!(warnings, 3, "{log}");
    assert_eq!(agent.end(), Some(0));
}

/// Between reading the configuration and attaching, an interface can go: too short a time to hit
/// with the command itself.
#[test]
fn an_interface_that_went_away_is_named() {
    let gone = Interface {
        name: "eth7".to_owned(),
        index: 0x7fff_0000,
        mac: [2, 0, 0, 0, 0, 1],
        addresses: Vec::new(),
    };
    let message = BpfPlane::refuse_foreign(Path::new("/none"), &gone).unwrap_err().to_string();
    assert_eq!(
        message,
        "there is no interface eth7 any more; bring it back, or name another one as \
         `service_interface`"
    );
}
