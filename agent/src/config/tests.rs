//! A file → the configuration, or every mistake in it.

mod cases;
mod kinds;
mod names;
mod plan;

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use rustix::thread::CapabilitySet;
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::checked::{
    Daemon, Interface, Key, Load, LoadScript, PressureResource, Seal, Secret, SocketAccess,
    TestKind, TrafficUnit, TrapAuth, TrapPrivacy, TrapSecurity, TrapUser, Traps, XdpMode,
};
use super::facts::{Account, SecretFile};
use super::*;
use crate::group::{Balance, Failback, HostId, Placement, Role};

/// A machine with `eth0` and `eth1`, an interface `bare` without addresses, `port0` of a bridge,
/// `/etc/rais/*.key` and programs below `/bin`, `/usr/local/bin`, `/usr/sbin` and in `/etc/rais`.
/// Its kernel knows no pressure on disks.
struct Fake;

impl Facts for Fake {
    fn interface(&self, name: &str) -> Result<Interface, String> {
        let (index, addresses): (u32, &[&str]) = match name {
            "eth0" => (2, &["10.77.0.1", "10.77.0.101", "fe80::1"]),
            "eth1" => (3, &["10.78.0.1"]),
            "bare" => (4, &[]),
            "port0" => (5, &[]),
            _ => return Err(format!("there is no interface `{name}`; there are: eth0, eth1")),
        };
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        Ok(Interface { name: name.to_owned(), index, mac: [2, 0, 0, 0, 0, 1], addresses })
    }

    fn serves(&self, interface: &Interface) -> Result<(), String> {
        if interface.index == 5 { Err("belongs to br0".to_owned()) } else { Ok(()) }
    }

    fn speed(&self, name: &str) -> Option<u64> {
        (name == "eth1").then_some(12_500_000_000)
    }

    fn secret(&self, path: &Path) -> io::Result<SecretFile> {
        let good = format!("# web\n{}\n", "0f".repeat(32));
        let (mode, owner, text) = match path.to_str().unwrap() {
            "/etc/rais/web.key" | "/etc/rais/next.key" => (0o600, 0, good),
            "/etc/rais/mine.key" => (0o400, 1000, good),
            "/etc/rais/open.key" => (0o644, 0, good),
            "/etc/rais/group.key" => (0o640, 0, good),
            "/etc/rais/other.key" => (0o600, 1001, good),
            "/etc/rais/snmp.auth" | "/etc/rais/snmp.privacy" => {
                (0o600, 0, "a good password\n".to_owned())
            }
            "/etc/rais/open" => (0o640, 0, "a good password\n".to_owned()),
            "/etc/rais/short" => (0o600, 0, "7 bytes\n".to_owned()),
            "/etc/rais/short.key" => (0o600, 0, "0f0f\n".to_owned()),
            "/etc/rais/update.key" => (0o600, 0, UPDATE_KEY.to_owned()),
            "/etc/rais/twice.key" => (0o600, 0, format!("{good}{good}")),
            _ => return Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        Ok(SecretFile { mode, owner, text })
    }

    fn pressure(&self, resource: PressureResource) -> io::Result<()> {
        match resource {
            PressureResource::Cpu | PressureResource::Memory => Ok(()),
            PressureResource::Io => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn program(&self, path: &Path) -> Result<(), String> {
        let dirs = ["/bin", "/usr/local/bin", "/usr/sbin", "/etc/rais"];
        let there = dirs.iter().any(|dir| path.starts_with(dir));
        if there { Ok(()) } else { Err("not there".to_owned()) }
    }

    fn certificates(&self, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
        let found = path == Path::new("/etc/rais/ca.pem");
        if found { Ok(vec![CertificateDer::from(vec![1])]) } else { Err("not there".to_owned()) }
    }

    fn answering_arp(&self) -> Vec<String> {
        vec!["eth0".to_owned(), "eth1".to_owned()]
    }

    fn user(&self) -> u32 {
        1000
    }

    fn account(&self, kind: Account, name: &str) -> Result<u32, String> {
        match (kind, name) {
            (Account::User, "operator") => Ok(37),
            (Account::Group, "rais") => Ok(990),
            _ => Err(format!("there is no such {kind:?}")),
        }
    }
}

const UPDATE_KEY: &str = "key \"updates\" {\n\talgorithm hmac-sha256;\n\tsecret \"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\";\n};\n";

const LEAST: &str = r#"[[group]]
name = "web"
address = "239.77.0.1:7077"
control_interfaces = ["eth0"]
service_interface = "eth0"
key_files = ["/etc/rais/web.key"]
"#;

const FULL: &str = r#"
[agent]
host_id = "10.77.0.9"
run_dir = "/run/other"
bpf_dir = "/sys/fs/bpf/other"
data_plane = "xdp"
xdp_mode = "generic"
log_packets = true
realtime = false
state_dir = "/var/lib/other"
metrics = "[::1]:9477"
socket_owner = "operator"
socket_group = "rais"
socket_mode = "0600"
script_capabilities = ["CAP_KILL", "CAP_SYS_ADMIN"]
log = "warn,rais::dns=debug"

[[group]]
name = "web"
address = "239.77.0.1:7077"
control_interfaces = ["eth0", "eth1"]
service_interface = "eth1"
key_files = ["/etc/rais/web.key", "/etc/rais/mine.key"]
insecure = false
role = "member"
heartbeat = "10ms"
timeout = "50ms"
preferred = ["10.77.0.101", "2001:db8::1"]
floating = ["10.77.0.100"]
quorum = 2
failback = "5m"
address_mode = "interface"
prearm = false
placement = "random"
orphan_timeout = "30d"
high_water = 800
low_water = 500
scale = 2000

[[group.test]]
name = "port"
kind = "tcp"
address = "127.0.0.1:80"
interval = "2s"
timeout = "1s"
rise = 4
fall = 5

[[group.test]]
name = "look"
kind = "script"
command = ["/bin/look", "-x"]

[[group.load]]
kind = "traffic"
unit = "bytes"

[[group.load]]
kind = "traffic"
unit = "packets"
capacity = 1_000

[[group.load]]
kind = "cpu"

[[group.load]]
kind = "cpu"
capacity = 800

[[group.load]]
kind = "pressure"
resource = "memory"

[[group.load]]
kind = "script"
command = ["/bin/load", "-x"]
interval = "2s"
timeout = "1s"
capacity = 50

[[group.load]]
kind = "script"
command = "/bin/load"

[group.scripts]
acquire = "/bin/acquire"
cannot_assign = "/bin/notify"
timeout = "3s"

[group.traps]
destinations = ["192.0.2.7:162", "[2001:db8::7]:162"]
version = "3"
inform = true
user = "me"
auth = "sha512"
auth_file = "/etc/rais/snmp.auth"
privacy = "aes256"
privacy_file = "/etc/rais/snmp.privacy"
"#;

fn checked(text: &str) -> Config {
    check(Path::new("f"), text, &Fake).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

/// The mistakes in `text`, shown.
fn mistakes(text: &str) -> String {
    let mistakes = check(Path::new("f"), text, &Fake).expect_err("there are mistakes");
    assert!(!mistakes.list().is_empty());
    mistakes.to_string()
}

/// The one mistake in the smallest file with `lines` put after it, from line 7 on.
fn one(lines: &str) -> String {
    let message = mistakes(&format!("{LEAST}{lines}\n"));
    assert_eq!(message.lines().count(), 1, "{message}");
    message
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn the_smallest_file_gets_the_defaults() {
    let config = checked(LEAST);
    assert_eq!(config.agent.host, HostId(ip("10.77.0.1")));
    assert_eq!(config.agent.run_dir, Path::new("/run/rais"));
    assert_eq!(config.agent.bpf_dir, Path::new("/sys/fs/bpf/rais"));
    assert_eq!(config.agent.xdp_mode, XdpMode::Auto);
    assert!(config.agent.realtime && !config.agent.log_packets);
    assert_eq!(config.agent.state_dir, Path::new("/var/lib/rais"));
    assert_eq!(config.agent.metrics, None);
    assert_eq!(config.agent.daemon, daemon::usual());
    assert_eq!(config.agent.daemon.socket.mode, 0o660);
    let group = &config.groups[0];
    let s = &group.settings;
    assert_eq!((s.name.as_str(), s.role, s.quorum), ("web", Role::Member, 1));
    assert_eq!(s.heartbeat, Duration::from_millis(100));
    assert_eq!(s.timeout, Duration::from_millis(350));
    assert_eq!(s.lease, Duration::from_millis(250));
    assert_eq!(s.orphan_timeout, Duration::from_hours(365 * 24));
    assert_eq!((s.failback, s.placement), (Failback::Immediate, Placement::LeastUtilised));
    assert_eq!(s.action_limit, Duration::from_secs(15));
    assert_eq!(s.control_addresses, [ip("10.77.0.1")]);
    assert!(s.preferred.is_empty() && s.floating.is_empty());
    assert!(!s.acquire_script && !s.release_script);
    assert!(matches!(&group.seal, Seal::Keys(keys) if keys[..] == [Key([0x0f; 32])]));
    assert_eq!(s.balance, None);
}

#[test]
fn every_key_is_read() {
    let config = checked(FULL);
    assert_eq!(config.agent.host, HostId(ip("10.77.0.9")));
    assert_eq!(config.agent.run_dir, Path::new("/run/other"));
    assert_eq!(config.agent.xdp_mode, XdpMode::Generic);
    assert!(!config.agent.realtime && config.agent.log_packets);
    assert_eq!(config.agent.state_dir, Path::new("/var/lib/other"));
    assert_eq!(config.agent.metrics, Some("[::1]:9477".parse().unwrap()));
    let (operator, rais) = (Some(37), Some(990));
    let socket = SocketAccess { owner: operator, group: rais, mode: 0o600 };
    let script_capabilities = Some(CapabilitySet::KILL | CapabilitySet::SYS_ADMIN);
    let log = Some("warn,rais::dns=debug".to_owned());
    assert_eq!(config.agent.daemon, Daemon { socket, script_capabilities, log });
    let group = &config.groups[0];
    let s = &group.settings;
    assert_eq!(s.control_addresses, [ip("10.77.0.1"), ip("10.78.0.1")]);
    assert_eq!((s.heartbeat, s.lease), (Duration::from_millis(10), Duration::from_millis(40)));
    assert_eq!(s.preferred.iter().collect::<Vec<_>>(), [&ip("10.77.0.101"), &ip("2001:db8::1")]);
    assert_eq!(s.floating.iter().collect::<Vec<_>>(), [&ip("10.77.0.100")]);
    assert_eq!((s.quorum, s.placement), (2, Placement::Random));
    assert_eq!(s.failback, Failback::After(Duration::from_mins(5)));
    assert_eq!(s.orphan_timeout, Duration::from_hours(30 * 24));
    assert_eq!(s.action_limit, Duration::from_secs(8));
    assert!(s.acquire_script && !s.release_script);
    assert_eq!(group.service_interface.index, 3);
    assert_eq!(s.balance, Some(Balance { high: 800, low: 500, scale: 2_000 }));
    assert!(matches!(&group.seal, Seal::Keys(keys) if keys.len() == 2));
    assert_eq!(group.tests[0].kind, TestKind::Tcp("127.0.0.1:80".parse().unwrap()));
    assert_eq!((group.tests[0].rise, group.tests[0].fall), (4, 5));
    assert_eq!(
        group.tests[1].kind,
        TestKind::Script(vec!["/bin/look".to_owned(), "-x".to_owned()])
    );
    assert_eq!((group.tests[1].rise, group.tests[1].fall), (2, 3));
    let loads = [
        // The interface is faster than a u32 of bytes can say.
        Load::Traffic { unit: TrafficUnit::Bytes, capacity: u32::MAX },
        Load::Traffic { unit: TrafficUnit::Packets, capacity: 1_000 },
        Load::Cpu { capacity: 1_000 },
        Load::Cpu { capacity: 800 },
        Load::Pressure { resource: PressureResource::Memory, capacity: 1_000 },
        Load::Script(LoadScript {
            command: vec!["/bin/load".to_owned(), "-x".to_owned()],
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            capacity: Some(50),
        }),
        Load::Script(LoadScript {
            command: vec!["/bin/load".to_owned()],
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(5),
            capacity: None,
        }),
    ];
    assert_eq!(group.loads, loads);
    let secret = || Secret("a good password".to_owned());
    let user = TrapUser {
        name: "me".to_owned(),
        auth: TrapAuth::Sha512,
        auth_secret: secret(),
        privacy: TrapPrivacy::Aes256,
        privacy_secret: secret(),
    };
    let destinations = ["192.0.2.7:162", "[2001:db8::7]:162"].map(|text| text.parse().unwrap());
    let security = TrapSecurity::User(Box::new(user));
    let traps = Traps { destinations: destinations.into(), inform: true, security };
    assert_eq!(group.traps, Some(traps));
}

#[test]
fn notifications_are_of_version_2c_and_public_unless_said_otherwise() {
    let text = format!("{LEAST}[group.traps]\ndestinations = ['192.0.2.7:162']\n");
    let traps = checked(&text).groups[0].traps.clone().unwrap();
    assert!(!traps.inform && !format!("{traps:?}").contains("public"));
    assert_eq!(traps.security, TrapSecurity::Community(Secret("public".to_owned())));
}

#[test]
fn without_a_known_speed_a_gigabit_is_the_capacity() {
    let config = checked(&format!("{LEAST}[[group.load]]\nkind = 'traffic'\nunit = 'bytes'\n"));
    let expected = Load::Traffic { unit: TrafficUnit::Bytes, capacity: 125_000_000 };
    assert_eq!(config.groups[0].loads, [expected]);
}

#[test]
fn seeds_differ_by_host_and_by_group_and_stay_the_same() {
    let seed = |text: &str| checked(text).groups[0].settings.seed;
    assert_eq!(seed(LEAST), seed(LEAST));
    assert_ne!(seed(LEAST), seed(&LEAST.replace("web\"", "mail\"")));
    assert_ne!(seed(LEAST), seed(&LEAST.replace("eth0", "eth1")));
}

/// One mistake each, with its exact words and place.
#[test]
fn single_mistakes() {
    for (lines, expected) in cases::ADDED {
        assert_eq!(one(lines), *expected, "{lines}");
    }
}

/// One mistake each, made by replacing a line of the smallest file.
#[test]
fn single_mistakes_in_what_is_needed() {
    for (old, new, expected) in cases::REPLACED {
        assert!(LEAST.contains(old), "{old}");
        assert_eq!(mistakes(&LEAST.replacen(old, new, 1)), *expected, "{old} -> {new}");
    }
}

#[test]
fn insecure_needs_no_key() {
    let text = LEAST.replace("key_files = [\"/etc/rais/web.key\"]", "insecure = true");
    assert!(matches!(checked(&text).groups[0].seal, Seal::Insecure));
}

#[test]
fn groups_must_differ() {
    let second = LEAST.replace("\"eth0\"\n", "\"eth1\"\n");
    let text = format!("{LEAST}floating = ['10.0.0.9']\n{second}floating = ['10.0.0.9']\n");
    assert_eq!(
        mistakes(&text),
        "f:9:8: group `web` is there already, in line 2; names are unique\n\
         f:10:11: 239.77.0.1:7077 is the address of another group already, in line 3"
    );
    // On one interface the address is a duplicate too.
    let text = text.replace("eth1", "eth0").replace("[\"/", "[ \"/");
    assert!(
        mistakes(&text).ends_with("\nf:14:13: 10.0.0.9 is a service address already, in line 7")
    );
}

#[test]
fn all_mistakes_come_in_one_run_and_in_order() {
    let text = "\
[agent]
realtime = 1
colour = 'red'

[[group]]
name = ''
address = '1.2.3.4:5'
control_interfaces = ['eth7']
service_interface = 'eth8'
key_files = ['/etc/rais/open.key', '/none']
heartbeat = 5
timeout = '1 parsec'
preferred = ['x', '127.0.0.1']
quorum = 0

[[group.test]]
kind = 'tcp'

[group.scripts]
timeout = '0s'
";
    let shown = mistakes(text);
    let places: Vec<_> = shown.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(
        places,
        [
            "f:2:12:", "f:3:1:", "f:6:8:", "f:7:11:", "f:8:23:", "f:9:21:", "f:10:14:", "f:10:36:",
            "f:11:13:", "f:12:11:", "f:13:14:", "f:13:19:", "f:14:10:", "f:16:1:", "f:16:1:",
            "f:20:11:",
        ],
        "{shown}"
    );
}

#[test]
fn lines_that_are_not_toml_do_not_hide_other_mistakes() {
    let text = LEAST.replace("name = \"web\"", "name = \"web");
    let shown = mistakes(&format!("{text}quorum = 0\nquorum = 1\nscale = 0\n"));
    let places: Vec<_> = shown.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(places, ["f:2:12:", "f:7:10:", "f:8:1:", "f:9:9:"], "{shown}");
    assert!(shown.contains("f:8:1: not TOML: duplicate key"), "{shown}");
}

#[test]
fn a_broken_header_is_the_only_thing_reported() {
    let shown = mistakes(&LEAST.replace("[[group]]", "[[group]"));
    assert!(shown.starts_with("f:1:") && shown.lines().count() == 1, "{shown}");
}

#[test]
fn files_without_a_group_are_refused() {
    let expected = "f:1:1: no [[group]]: the agent would have nothing to do; add at least one";
    assert_eq!(mistakes(""), expected);
    assert_eq!(mistakes("[agent]\n"), expected);
    assert_eq!(
        mistakes("[group]\nname = 'web'\n"),
        "f:1:1: expected [[group]], in double brackets"
    );
    assert_eq!(mistakes("group = 1\n"), "f:1:9: expected [[group]], in double brackets");
}

#[test]
fn limits() {
    use std::fmt::Write;
    let list = |count: usize| {
        let all: Vec<_> =
            (0..count).map(|n| format!("'10.9.{}.{}'", n / 250, n % 250 + 1)).collect();
        all.join(", ")
    };
    let preferred = |count| format!("{LEAST}preferred = [{}]\n", list(count));
    assert_eq!(checked(&preferred(1_025)).groups[0].settings.preferred.len(), 1_025);
    let zone = "[group.dns]\nzone = 'web.example.net.'\nbackend = 'server'\n";
    let shown = mistakes(&(preferred(1_025) + zone));
    assert!(
        shown.contains("more than 1024 service addresses in a group with [group.dns]"),
        "{shown}"
    );
    let range = |last| format!("{LEAST}preferred = ['10.9.0.0-10.9.255.255', '10.8.0.0{last}']\n");
    let shown = mistakes(&range("-10.8.255.255"));
    assert!(
        shown.ends_with("more than 65536 service addresses, which is what a host can hold"),
        "{shown}"
    );
    let whole = checked(&range("").replace(", '10.8.0.0'", ""));
    assert_eq!(whole.groups[0].settings.preferred.len(), 65_536);
    let shown = mistakes(&format!("{LEAST}preferred = ['::1:0:0-ffff::']\n"));
    assert!(shown.ends_with("which is what a host can hold"), "{shown}");

    let groups = |count: usize| {
        (0..count).fold(String::new(), |mut text, n| {
            let group =
                LEAST.replace("web\"", &format!("g{n}\"")).replace(".1:", &format!(".{n}:"));
            write!(text, "{group}").unwrap();
            text
        })
    };
    assert_eq!(checked(&groups(64)).groups.len(), 64);
    assert_eq!(mistakes(&groups(65)), "f:385:1: more than 64 groups; an agent can be in 64");

    for (section, said) in [
        ("[[group.load]]\nkind = \"cpu\"\n", "more than 64 load objects in one group"),
        (
            "[[group.test]]\nname = \"tN\"\nkind = \"tcp\"\naddress = \"127.0.0.1:80\"\n",
            "more than 64 test objects in one group",
        ),
    ] {
        let with = |count| {
            let all = (0..count).map(|n: u32| section.replace('N', &n.to_string()));
            format!("{LEAST}{}", all.collect::<String>())
        };
        assert_eq!(checked(&with(64)).groups.len(), 1);
        let shown = mistakes(&with(65));
        assert!(shown.contains(said), "{shown}");
    }
}

/// Whatever is cut from a file, what remains is right or something is said about it.
#[test]
fn no_truncated_file_is_refused_without_a_reason() {
    for end in 0..FULL.len() {
        if let Err(mistakes) = check(Path::new("f"), &FULL[..end], &Fake) {
            assert!(!mistakes.list().is_empty(), "{}", &FULL[..end]);
        }
    }
    for skipped in 0..FULL.lines().count() {
        let text: String = FULL
            .lines()
            .enumerate()
            .filter(|(n, _)| *n != skipped)
            .flat_map(|(_, line)| [line, "\n"])
            .collect();
        if let Err(mistakes) = check(Path::new("f"), &text, &Fake) {
            assert!(!mistakes.list().is_empty(), "{text}");
        }
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let message = load(Path::new("/nonexistent/rais.toml")).unwrap_err().to_string();
    assert_eq!(
        message,
        "/nonexistent/rais.toml: cannot be opened: No such file or directory (os error 2)"
    );
}

// The examples of the README → no mistake in them.
#[test]
fn the_readme_has_no_mistakes() {
    let readme = include_str!("../../../README.md");
    let examples: Vec<&str> =
        readme.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(examples.len() >= 2, "{readme}");
    for example in examples {
        let group = if example.contains("[[group]]") { "" } else { LEAST };
        let example = &format!("{group}{example}");
        if let Err(mistakes) = check(Path::new("README.md"), example, &Fake) {
            panic!("{mistakes}\n{example}");
        }
    }
}
