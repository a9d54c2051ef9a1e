//! `[group.dns]`: what it says → what the name service is told, or the mistake.

use domain::base::Name;

use super::*;
use crate::config::checked::{Delegate, NameBackend, NameServer, NameService};

fn names(lines: &str) -> NameService {
    checked(&format!("{LEAST}[group.dns]\n{lines}\n")).groups.remove(0).dns.unwrap()
}

fn server(lines: &str) -> NameServer {
    match names(&format!("zone = 'web.example.net.'\n{lines}")).backend {
        NameBackend::Server(server) => server,
        other @ (NameBackend::Update(_) | NameBackend::ZoneFile(_)) => panic!("{other:?}"),
    }
}

fn name(text: &str) -> Name<Vec<u8>> {
    text.parse().unwrap()
}

#[test]
fn a_zone_is_enough() {
    let said = names("zone = 'web.example.net.'");
    assert_eq!((&said.zone, &said.name), (&name("web.example.net"), &name("web.example.net")));
    assert_eq!((said.ttl, said.minimum), (5, 1));
    let server = Delegate { name: name("ns.web.example.net"), addresses: vec![ip("10.77.0.1")] };
    let listen = vec!["10.77.0.1:53".parse().unwrap()];
    let (notify, transfer) = (Vec::new(), Vec::new());
    let expected = NameServer { listen, nameservers: vec![server], notify, transfer };
    assert_eq!(said.backend, NameBackend::Server(expected));
    assert!(checked(LEAST).groups[0].dns.is_none());
}

#[test]
fn every_key_is_read() {
    let said = names("zone = 'web.example.net'\nname = 'www.eu'\nttl = '1m'\nminimum = 0");
    assert_eq!(said.name, name("www.eu.web.example.net"));
    assert_eq!((said.ttl, said.minimum), (60, 0));
    let whole = "zone = 'a.b'\nname = 'x.A.b.'";
    assert_eq!(names(whole).name, name("x.a.b"));
    assert_eq!(names("zone = 'a.b'\nname = '@'").name, name("a.b"));
    let said = server(
        "backend = 'server'\nlisten = ['10.0.0.1:53', '[2001:db8::1]:5353']\nnameservers = ['ns1 \
         10.0.0.1 2001:db8::1', 'x.web.example.net 10.0.0.2', 'ns.example.org.']\nnotify = \
         ['10.0.0.3:53']\ntransfer = ['10.0.0.3', '2001:db8::3']",
    );
    let socket = |text: &str| text.parse().unwrap();
    assert_eq!(said.listen, [socket("10.0.0.1:53"), socket("[2001:db8::1]:5353")]);
    let own = Delegate {
        name: name("ns1.web.example.net"),
        addresses: vec![ip("10.0.0.1"), ip("2001:db8::1")],
    };
    let second = Delegate { name: name("x.web.example.net"), addresses: vec![ip("10.0.0.2")] };
    let other = Delegate { name: name("ns.example.org"), addresses: Vec::new() };
    assert_eq!(said.nameservers, [own, second, other]);
    assert_eq!(said.notify, [socket("10.0.0.3:53")]);
    assert_eq!(said.transfer, [ip("10.0.0.3"), ip("2001:db8::3")]);
}

// An address that an agent left behind is the machine's no more than those it moves.
#[test]
fn a_service_address_is_not_listened_on_by_default() {
    let text = format!("{LEAST}floating = ['10.77.0.101']\n[group.dns]\nzone = 'a.b'\n");
    let Some(NameService { backend: NameBackend::Server(said), .. }) =
        &checked(&text).groups[0].dns
    else {
        panic!("no server")
    };
    assert_eq!(said.listen, ["10.77.0.1:53".parse().unwrap()]);
}

#[test]
fn another_server_is_updated_with_a_key() {
    let lines = "zone = 'a.b'\nbackend = 'update'\nserver = '10.0.0.1:53'\nkey_file = \
                 '/etc/rais/update.key'";
    let NameBackend::Update(said) = names(lines).backend else { panic!("not update") };
    assert_eq!(said.server, "10.0.0.1:53".parse().unwrap());
    assert_eq!((said.key.name, said.key.secret.len()), (name("updates"), 32));
}

#[test]
fn a_file_is_written_and_read() {
    let lines = "zone = 'a.b'\nbackend = 'zone-file'\nfile = '/z/a.b'\nnameservers = \
                 ['ns.example.org.']";
    let NameBackend::ZoneFile(mut said) = names(lines).backend else { panic!("no file") };
    assert_eq!((said.reload, said.server), (None, None));
    assert_eq!(said.reload_timeout, Duration::from_secs(10));
    let lines = format!(
        "{lines}\nreload = ['/bin/reload', 'a.b']\nreload_timeout = '1s'\nserver \
                         = '127.0.0.1:53'"
    );
    (said.reload_timeout, said.server) = (Duration::from_secs(1), "127.0.0.1:53".parse().ok());
    said.reload = Some(vec!["/bin/reload".to_owned(), "a.b".to_owned()]);
    assert_eq!(names(&lines).backend, NameBackend::ZoneFile(said));
}

/// One mistake each, on lines that go on from line 8, with its exact words and place.
const MISTAKES: &[(&str, &str)] = &[
    (
        "name = 'www'",
        "f:7:1: `zone` is missing in [group.dns]; expected the name of a zone in quotes, such as \"web.example.net.\"",
    ),
    (
        "zone = '.'",
        "f:8:8: `zone`: expected the name of a zone in quotes, such as \"web.example.net.\", found '.'",
    ),
    (
        "zone = 'a..b'",
        "f:8:8: `zone`: expected the name of a zone in quotes, such as \"web.example.net.\", found 'a..b'",
    ),
    (
        "zone = 'a.b'\nname = 'www.example.org.'",
        "f:9:8: `name`: expected a name in the zone in quotes, such as \"www\", or \"@\" for the zone itself, found 'www.example.org.'",
    ),
    (
        "zone = 'a.b'\nname = ''",
        "f:9:8: `name`: expected a name in the zone in quotes, such as \"www\", or \"@\" for the zone itself, found ''",
    ),
    (
        "zone = 'a.b'\nttl = '500ms'",
        "f:9:7: `ttl`: expected a duration of at least 1s, found '500ms'",
    ),
    (
        "zone = 'a.b'\nttl = '1500ms'",
        "f:9:7: `ttl`: expected whole seconds, at most 1d, found 1500ms",
    ),
    ("zone = 'a.b'\nttl = '2d'", "f:9:7: `ttl`: expected whole seconds, at most 1d, found 2d"),
    (
        "zone = 'a.b'\nminimum = -1",
        "f:9:11: `minimum`: expected a whole number from 0 to 4294967295, found -1",
    ),
    (
        "zone = 'a.b'\nbackend = 'bind'",
        "f:9:11: `backend`: expected \"server\" or \"update\" or \"zone-file\", found 'bind'",
    ),
    (
        "zone = 'a.b'\nlisten = ['0.0.0.0:53']",
        "f:9:11: `listen`: 0.0.0.0:53 stands for all addresses; name those that are asked, since answers come from them",
    ),
    (
        "zone = 'a.b'\nlisten = ['10.0.0.1']",
        "f:9:11: `listen`: expected an IP address and a port in quotes, such as \"192.0.2.1:53\", found '10.0.0.1'",
    ),
    ("zone = 'a.b'\nlisten = []", "f:9:10: `listen` names no address; at least one is needed"),
    (
        "zone = 'a.b'\nlisten = ['10.0.0.1:0']",
        "f:9:11: `listen`: 10.0.0.1:0 has no usable port; expected 1 to 65535",
    ),
    (
        "zone = 'a.b'\nnameservers = ['ns1']",
        "f:9:16: `nameservers`: \"ns1\": it is in the zone, so its addresses are needed; expected the name of a name server in quotes, and where it is in the zone its addresses after it, such as \"ns1 192.0.2.53\"",
    ),
    (
        "zone = 'a.b'\nnameservers = ['ns.example.org 10.0.0.1']",
        "f:9:16: `nameservers`: \"ns.example.org 10.0.0.1\": it is not in the zone, which has no addresses for it; expected the name of a name server in quotes, and where it is in the zone its addresses after it, such as \"ns1 192.0.2.53\"",
    ),
    (
        "zone = 'a.b'\nnotify = ['10.0.0.1']",
        "f:9:11: `notify`: expected an IP address and a port in quotes, such as \"192.0.2.53:53\", found '10.0.0.1'",
    ),
    (
        "zone = 'a.b'\nbackend = 'update'\nserver = '10.0.0.1:53'",
        "f:7:1: `key_file` is missing in [group.dns]; expected the path of a file in quotes, as `tsig-keygen` prints it",
    ),
    (
        "zone = 'a.b'\nbackend = 'update'\nkey_file = '/etc/rais/update.key'",
        "f:7:1: `server` is missing in [group.dns]; expected an IP address and a port in quotes, such as \"192.0.2.53:53\"",
    ),
    (
        "zone = 'a.b'\nbackend = 'update'\nserver = '10.0.0.1:53'\nkey_file = '/etc/rais/none.key'",
        "f:11:12: key file /etc/rais/none.key: entity not found; copy it from the name server, or make one with `tsig-keygen`",
    ),
    (
        "zone = 'a.b'\nbackend = 'update'\nserver = '10.0.0.1:53'\nkey_file = '/etc/rais/open.key'",
        "f:11:12: key file /etc/rais/open.key has mode 0644: others than its owner may use it; run `chmod 600 /etc/rais/open.key`",
    ),
    (
        "zone = 'a.b'\nbackend = 'update'\nserver = '10.0.0.1:53'\nkey_file = '/etc/rais/update.key'\nlisten = ['10.0.0.1:53']",
        "f:12:1: unknown key `listen` in [group.dns]; known are zone, name, ttl, minimum, backend, server, key_file",
    ),
    (
        "zone = 'a.b'\nbackend = 'zone-file'\nfile = '/z'",
        "f:7:1: `nameservers` is missing in [group.dns]; expected a list, each entry the name of a name server in quotes, and where it is in the zone its addresses after it, such as \"ns1 192.0.2.53\"",
    ),
    (
        "zone = 'a.b'\nbackend = 'zone-file'\nfile = 'z'\nnameservers = ['ns.c.']",
        "f:10:8: `file`: expected an absolute path in quotes, found 'z'",
    ),
    (
        "zone = 'a.b'\nbackend = 'zone-file'\nfile = '/z'\nnameservers = ['ns.c.']\nreload = '/x/reload'",
        "f:12:10: `reload`: program /x/reload: not there",
    ),
    (
        "zone = 'a.b'\nlissen = []",
        "f:9:1: unknown key `lissen` in [group.dns]; did you mean `listen`?",
    ),
];

#[test]
fn single_mistakes() {
    for (lines, expected) in MISTAKES {
        assert_eq!(one(&format!("[group.dns]\n{lines}")), *expected, "{lines}");
    }
}

#[test]
fn two_groups_cannot_listen_on_one_address() {
    let dns = "[group.dns]\nzone = 'a.b'\nlisten = ['10.0.0.1:53']\n";
    let second = LEAST.replace("\"web\"", "\"mail\"").replace("239.77.0.1", "239.77.0.2");
    let text = format!("{LEAST}{dns}{second}{dns}");
    let expected = "f:18:11: the name service listens on 10.0.0.1:53 already, in line 9";
    assert_eq!(mistakes(&text), expected);
}
