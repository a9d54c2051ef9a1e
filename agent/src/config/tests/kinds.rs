//! Kinds of test objects and what they are told.

use domain::base::Rtype;

use super::*;
use crate::config::checked::{Dns, Http, Tls, Trust};

/// The one test object of a configuration with these lines in it.
fn test(lines: &str) -> checked::Test {
    let text = format!("{LEAST}[[group.test]]\nname = 'a'\n{lines}\n");
    checked(&text).groups.remove(0).tests.remove(0)
}

fn http(lines: &str) -> Http {
    let TestKind::Http(http) = test(&format!("kind = 'http'\n{lines}")).kind else { panic!() };
    *http
}

#[test]
fn a_file() {
    let kind = test("kind = 'file'\npath = '/a'").kind;
    assert_eq!(kind, TestKind::File { path: "/a".into(), contains: None, max_age: None });
    let lines = "kind = 'file'\npath = '/a'\ncontains = 'ok'\nmax_age = '5m'";
    let (contains, max_age) = (Some("ok".to_owned()), Some(Duration::from_mins(5)));
    assert_eq!(test(lines).kind, TestKind::File { path: "/a".into(), contains, max_age });
}

#[test]
fn an_interface_fails_at_once() {
    let found = test("kind = 'interface'\ninterface = 'later0'");
    assert_eq!(found.kind, TestKind::Interface { name: "later0".into(), address: None });
    assert_eq!((found.rise, found.fall), (2, 1));
    let found = test("kind = 'interface'\ninterface = 'eth0'\naddress = '10.0.0.1'\nfall = 2");
    let address = Some(ip("10.0.0.1"));
    assert_eq!(found.kind, TestKind::Interface { name: "eth0".into(), address });
    assert_eq!(found.fall, 2);
}

#[test]
fn urls() {
    let cases = [
        ("http://web", "web", 80),
        ("http://127.0.0.1:8080/health?deep=1", "127.0.0.1", 8080),
        ("HTTP://[::1]:81/", "::1", 81),
        ("http://[2001:db8::1]", "2001:db8::1", 80),
        ("https://web.example/x", "web.example", 443),
        ("https://[::1]:4430", "::1", 4430),
    ];
    for (url, host, port) in cases {
        let found = http(&format!("url = '{url}'"));
        assert_eq!((found.host.as_str(), found.port), (host, port), "{url}");
        assert_eq!(found.tls.is_some(), url.starts_with("https"), "{url}");
        assert_eq!((found.status, found.body_contains), (vec![200..=200], None));
    }
    for url in [
        "",
        "web",
        "/path",
        "ftp://web",
        "http://",
        "http://me@web",
        "http://web:0",
        "http://web:99999",
        "http://[::1",
        "http://[x]",
        "http://a b",
        "https://-",
    ] {
        let message = one(&format!("[[group.test]]\nname = 'a'\nkind = 'http'\nurl = '{url}'"));
        assert!(message.starts_with("f:10:7: `url`: expected a URL in quotes"), "{message}");
    }
}

#[test]
fn statuses() {
    let cases = [
        ("204", vec![204..=204]),
        ("\"200-299\"", vec![200..=299]),
        ("[200, \"300-302\", 404]", vec![200..=200, 300..=302, 404..=404]),
    ];
    for (text, status) in cases {
        assert_eq!(http(&format!("url = 'http://a'\nstatus = {text}")).status, status, "{text}");
    }
    for text in ["99", "1000", "[]", "\"299-200\"", "\"200\"", "[200, true]", "-200", "\"1-2\""] {
        let lines = "[[group.test]]\nname = 'a'\nkind = 'http'\nurl = 'http://a'";
        let message = one(&format!("{lines}\nstatus = {text}"));
        assert!(message.starts_with("f:11:10: `status`: expected a status such as"), "{message}");
    }
}

#[test]
fn whom_to_believe() {
    let trust = |lines: &str| {
        let Some(Tls { trust, .. }) = http(&format!("url = 'https://a'\n{lines}")).tls else {
            panic!("no TLS")
        };
        trust
    };
    assert_eq!(trust(""), Trust::Machine);
    assert_eq!(trust("insecure_tls = false"), Trust::Machine);
    assert_eq!(trust("insecure_tls = true"), Trust::Anyone);
    let authorities = Trust::Authorities(vec![CertificateDer::from(vec![1])]);
    assert_eq!(trust("ca_file = '/etc/rais/ca.pem'\ninsecure_tls = false"), authorities);
}

#[test]
fn a_question() {
    let server = "kind = 'dns'\nserver = '127.0.0.1:53'\nquery = 'www.example.org'";
    let mut expected = Dns {
        server: "127.0.0.1:53".parse().unwrap(),
        name: "www.example.org".parse().unwrap(),
        rtype: Rtype::A,
        expect: None,
    };
    assert_eq!(test(server).kind, TestKind::Dns(expected.clone()));
    expected.rtype = Rtype::AAAA;
    expected.expect = Some(ip("2001:db8::1"));
    let lines = format!("{server}\ntype = 'AAAA'\nexpect = '2001:db8::1'");
    assert_eq!(test(&lines).kind, TestKind::Dns(expected));
}

/// One mistake each, on lines that go on from line 9, with its exact words and place.
const MISTAKES: &[(&str, &str)] = &[
    (
        "kind = 'file'",
        "f:7:1: `path` is missing in [[group.test]]; expected an absolute path in quotes",
    ),
    ("kind = 'file'\npath = 'a'", "f:10:8: `path`: expected an absolute path in quotes, found 'a'"),
    (
        "kind = 'file'\npath = '/a'\ncontains = ''",
        "f:11:12: `contains`: expected text in quotes, at least a character, found ''",
    ),
    (
        "kind = 'file'\npath = '/a'\nmax_age = 5",
        "f:11:11: `max_age`: the unit is missing; write for example \"5ms\" or \"5s\" (units are us, ms, s, m, h and d, a day being 24 h)",
    ),
    (
        "kind = 'interface'",
        "f:7:1: `interface` is missing in [[group.test]]; expected the name of an interface in quotes, such as \"eth0\"",
    ),
    (
        "kind = 'interface'\ninterface = 'sixteen-letters!'",
        "f:10:13: `interface`: expected the name of an interface in quotes, such as \"eth0\", found 'sixteen-letters!'",
    ),
    (
        "kind = 'interface'\ninterface = 'eth0'\naddress = '10.0.0.1/24'",
        "f:11:11: `address`: expected an IP address in quotes, found '10.0.0.1/24'",
    ),
    (
        "kind = 'http'",
        "f:7:1: `url` is missing in [[group.test]]; expected a URL in quotes, such as \"http://127.0.0.1:8080/health\"",
    ),
    (
        "kind = 'http'\nurl = 'http://a'\nca_file = '/etc/rais/ca.pem'",
        "f:11:11: this is for URLs that begin with https",
    ),
    (
        "kind = 'http'\nurl = 'http://a'\ninsecure_tls = true",
        "f:11:16: this is for URLs that begin with https",
    ),
    (
        "kind = 'http'\nurl = 'https://a'\nca_file = '/etc/rais/none.pem'",
        "f:11:11: `ca_file`: /etc/rais/none.pem: not there",
    ),
    (
        "kind = 'http'\nurl = 'https://a'\nca_file = '/etc/rais/ca.pem'\ninsecure_tls = true",
        "f:12:16: `insecure_tls` and `ca_file`: it is one or the other",
    ),
    (
        "kind = 'http'\nurl = 'http://a'\nbody = 'ok'",
        "f:11:1: unknown key `body` in [[group.test]]; known are name, kind, url, status, body_contains, ca_file, insecure_tls, interval, timeout, rise, fall",
    ),
    (
        "kind = 'dns'\nserver = '127.0.0.1'\nquery = 'a'",
        "f:10:10: `server`: expected an IP address and a port in quotes, such as \"127.0.0.1:53\", found '127.0.0.1'",
    ),
    (
        "kind = 'dns'\nserver = '127.0.0.1:53'",
        "f:7:1: `query` is missing in [[group.test]]; expected a domain name in quotes, such as \"www.example.org\"",
    ),
    (
        "kind = 'dns'\nserver = '127.0.0.1:53'\nquery = 'a..b'",
        "f:11:9: `query`: expected a domain name in quotes, such as \"www.example.org\", found 'a..b'",
    ),
    (
        "kind = 'dns'\nserver = '127.0.0.1:53'\nquery = 'a'\ntype = 'B'",
        "f:12:8: `type`: expected a record type in quotes, such as \"A\", found 'B'",
    ),
    (
        "kind = 'dns'\nserver = '127.0.0.1:53'\nquery = 'a'\nexpect = '::1'",
        "f:12:10: `expect`: ::1 cannot be in an answer of type A",
    ),
];

#[test]
fn single_mistakes() {
    for (lines, expected) in MISTAKES {
        assert_eq!(one(&format!("[[group.test]]\nname = 'a'\n{lines}")), *expected, "{lines}");
    }
}

#[test]
fn certificates_on_this_machine() {
    let name = format!("rais-ca-{}.pem", std::process::id());
    let path = std::env::temp_dir().join(name);
    let signed = rcgen::generate_simple_self_signed(vec!["web".to_owned()]).unwrap();
    std::fs::write(&path, format!("# ours\n{}", signed.cert.pem())).unwrap();
    let found = Machine.certificates(&path);
    std::fs::write(&path, "nothing").unwrap();
    let nothing = Machine.certificates(&path);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(found.unwrap(), [signed.cert.der().clone()]);
    assert_eq!(nothing.unwrap_err(), "no certificate in it");
    assert!(Machine.certificates(&path).unwrap_err().starts_with("No such file"));
}
