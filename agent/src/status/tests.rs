//! A status → what people and programs see.

use serde_json::Value;

use super::*;

/// The form that scripts rely on.
const JSON: &str = r#"{"version":"0.1.0","host":{"id":"10.77.0.1","control_addresses":["10.77.0.1"]},
 "groups":[{"name":"web","leader":"10.77.0.1","role":"member","ok":true,"quiesced":false,"quorum_met":true,"secure":true,
   "data_plane":{"kind":"xdp","mode":"native","interface":"eth0","lease_ms_left":212},
   "hosts":[{"id":"10.77.0.1","ok":true,"quiesced":false,"load":120,"capacity":1000,"age_ms":3,"phase":"member",
             "preferred":["10.77.0.101"],"addresses":[{"address":"10.77.0.101","state":"online","epoch":7}]}],
   "addresses":[{"address":"10.77.0.101","preferred":"10.77.0.1","holders":["10.77.0.1"],"state":"online","orphaned_s":null,
                 "packets":10,"bytes":840,"connections":1}],
   "tests":[{"name":"http","passing":true,"since_s":91,"detail":"200 in 1.2 ms"}],
   "dns":{"advertised":["10.77.0.101"],"withheld":[]},"move_limit_ms":4000,
   "control_interfaces":[{"name":"eth0","up":true,"hosts_heard":1,"last_heard_ms":12,"sent":70,"send_failed":1,
                          "hosts":[{"id":"10.77.0.2","heard":true,"age_ms":12}]}]}]}"#;

fn status() -> Status {
    serde_json::from_str(JSON).unwrap()
}

/// Every member of `part` is in `whole` with the same value.
fn assert_within(part: &Value, whole: &Value, at: &str) {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => {
            for (key, value) in part {
                let found = whole.get(key).unwrap_or_else(|| panic!("{at}.{key} is missing"));
                assert_within(value, found, &format!("{at}.{key}"));
            }
        }
        (Value::Array(part), Value::Array(whole)) => {
            assert_eq!(part.len(), whole.len(), "{at}");
            for (n, (value, found)) in part.iter().zip(whole).enumerate() {
                assert_within(value, found, &format!("{at}[{n}]"));
            }
        }
        (part, whole) => assert_eq!(part, whole, "{at}"),
    }
}

#[test]
fn the_json_form_is_kept() {
    let expected: Value = serde_json::from_str(JSON).unwrap();
    assert_within(&expected, &serde_json::to_value(status()).unwrap(), "status");
}

#[test]
fn what_is_not_there_is_null() {
    let mut status = status();
    status.groups[0].leader = None;
    status.groups[0].dns = None;
    let json = serde_json::to_value(&status).unwrap();
    assert!(json["groups"][0]["leader"].is_null());
    assert!(json["groups"][0]["dns"].is_null());
    assert_eq!(serde_json::from_value::<Status>(json).unwrap(), status);
}

#[test]
fn plain_text_has_one_line_a_thing() {
    let mut status = status();
    status.groups[0].messages.refused.insert("forged".to_owned(), 2);
    assert_eq!(
        render(&status, Style::Plain),
        "\
rais 0.1.0 on host 10.77.0.1 (control 10.77.0.1)
group web: leader 10.77.0.1, member, ok, quorum met
  data plane: xdp native on eth0, lease 212 ms; nothing counted
  messages: sent 0, failed 0, received 0, duplicates 0, refused forged 2
  control eth0: up, all 1 hosts heard, last 12 ms ago; sent 70, failed 1
  host 10.77.0.1: ok, load 120/1000, heard 3 ms ago, prefers 10.77.0.101, serves 10.77.0.101 (online, epoch 7)
  address 10.77.0.101: online, held by 10.77.0.1, preferred by 10.77.0.1, 10 packets, 840 bytes, 1 connections
  test http: passing for 91 s: 200 in 1.2 ms
  dns: advertised 10.77.0.101; withheld nothing
"
    );
}

#[test]
fn trouble_is_said() {
    let mut status = status();
    let group = &mut status.groups[0];
    group.leader = None;
    group.secure = false;
    group.ok = false;
    group.quiesced = true;
    group.quorum_met = false;
    group.data_plane.lease_ms_left = 0;
    group.data_plane.counters =
        counters(&Counters { arp_refused: 3, arp_asked: 4, ..Counters::default() });
    group.addresses[0].holders.clear();
    group.addresses[0].state = AddressState::Unserved;
    group.addresses[0].orphaned_s = Some(5);
    group.tests[0].passing = false;
    group.tests[0].detail = "one\ntwo\u{1b}[2J\n".to_owned();
    let text = render(&status, Style::Plain);
    for part in [
        "leader none, member, not ok, quiesced, quorum not met, INSECURE",
        "no lease; arp_asked 4, arp_refused 3\n",
        "unserved, held by nobody, preferred by 10.77.0.1, orphaned for 5 s,",
        "test http: failing for 91 s: one two [2J\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn tables_fit_the_terminal_and_colours_are_optional() {
    let status = status();
    let text = render(&status, Style::Tables { width: 80, colour: false });
    assert!(text.lines().skip(5).all(|line| line.chars().count() <= 80), "{text}");
    let whole = "│ 10.77.0.101 ┆ online ┆ 10.77.0.1 ┆ 10.77.0.1 ┆ 10      ┆ 840   ┆ 1     │";
    assert!(text.contains(whole) && !text.contains('\u{1b}'), "{text}");
    let text = render(&status, Style::Tables { width: 80, colour: true });
    assert!(text.contains("\u{1b}[32mok\u{1b}[0m"), "{text}");
}

/// An interface on which the hosts were last heard so long ago, in ms; after 200 they are not heard.
fn interface(name: &str, ages: &[Option<u64>]) -> ControlInterface {
    let host = |(n, age): (u8, &Option<u64>)| HeardHost {
        id: IpAddr::from([10, 77, 0, n]),
        heard: age.is_some_and(|age| age < 200),
        age_ms: *age,
    };
    let hosts: Vec<HeardHost> = (2..).zip(ages).map(host).collect();
    ControlInterface {
        name: name.to_owned(),
        up: true,
        hosts_heard: hosts.iter().filter(|host| host.heard).count(),
        last_heard_ms: ages.iter().copied().flatten().min(),
        hosts,
        ..ControlInterface::default()
    }
}

// when the hosts were heard on each of two interfaces → what is said of each
#[test]
fn a_control_interface_that_is_of_no_use_is_said() {
    let none: &[Option<u64>] = &[];
    let cases = [
        ([none, none], ["up, no other host in sight;", "up, no other host in sight;"]),
        (
            [&[Some(5), Some(9)][..], &[Some(7), Some(900)]],
            [
                "up, all 2 hosts heard, last 5 ms ago;",
                "up, 1 of 2 hosts heard, not 10.77.0.3, last",
            ],
        ),
        (
            [&[Some(5)], &[None]],
            [
                "up, all 1 hosts heard, last 5 ms ago;",
                "up, SILENT: no host heard here, but on another interface;",
            ],
        ),
        (
            [&[Some(5), None, None, None, None, None, None], &[Some(5); 7]],
            [
                "up, 1 of 7 hosts heard, not 10.77.0.3, 10.77.0.4, 10.77.0.5, 10.77.0.6 and 2 \
                 more, last 5 ms ago;",
                "up, all 7 hosts heard, last 5 ms ago;",
            ],
        ),
        (
            [&[Some(300), None], &[None, None]],
            ["up, none of 2 hosts heard, last 300 ms ago;", "up, none of 2 hosts heard;"],
        ),
    ];
    for (ages, said) in cases {
        let mut status = status();
        status.groups[0].control_interfaces =
            vec![interface("eth0", ages[0]), interface("eth1", ages[1])];
        let plain = render(&status, Style::Plain);
        let tables = render(&status, Style::Tables { width: 80, colour: false });
        for text in [plain, tables] {
            for (name, said) in ["eth0", "eth1"].into_iter().zip(said) {
                assert!(text.contains(&format!("control {name}: {said}")), "{said}: {text}");
            }
        }
    }
    let mut status = status();
    status.groups[0].control_interfaces[0].up = false;
    let text = render(&status, Style::Plain);
    assert!(text.contains("control eth0: down or without carrier, all 1 hosts"), "{text}");
}

// phase → its word, in JSON and in the state of the host
#[test]
fn a_host_that_is_no_member_is_said_to_be_none() {
    let of = |phase| {
        let mut status = status();
        status.groups[0].hosts[0].phase = phase;
        let json = serde_json::to_value(&status).unwrap();
        let word = json["groups"][0]["hosts"][0]["phase"].as_str().unwrap().to_owned();
        (word, render(&status, Style::Plain))
    };
    for (phase, word) in [(Phase::Joining, "joining"), (Phase::Leaving, "leaving")] {
        let (json, text) = of(phase);
        assert_eq!(json, word);
        assert!(text.contains(&format!("  host 10.77.0.1: ok, {word}, load")), "{text}");
    }
    let (json, text) = of(Phase::Member);
    assert!(json == "member" && text.contains("  host 10.77.0.1: ok, load"), "{text}");
}
