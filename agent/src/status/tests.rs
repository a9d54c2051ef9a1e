//! A status → what people and programs see.

use serde_json::Value;

use super::*;

/// The form that scripts rely on.
const JSON: &str = r#"{"version":"0.1.0","host":{"id":"10.77.0.1","control_addresses":["10.77.0.1"]},
 "groups":[{"name":"web","leader":"10.77.0.1","role":"member","ok":true,"quiesced":false,"quorum_met":true,"secure":true,
   "data_plane":{"kind":"xdp","mode":"native","interface":"eth0","lease_ms_left":212},
   "hosts":[{"id":"10.77.0.1","ok":true,"quiesced":false,"load":120,"capacity":1000,"age_ms":3,
             "preferred":["10.77.0.101"],"addresses":[{"address":"10.77.0.101","state":"online","epoch":7}]}],
   "addresses":[{"address":"10.77.0.101","preferred":"10.77.0.1","holders":["10.77.0.1"],"state":"online","orphaned_s":null,
                 "packets":10,"bytes":840,"connections":1}],
   "tests":[{"name":"http","passing":true,"since_s":91,"detail":"200 in 1.2 ms"}],
   "dns":{"advertised":["10.77.0.101"],"withheld":[]}}]}"#;

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
    assert!(text.lines().skip(4).all(|line| line.chars().count() <= 80), "{text}");
    let whole = "│ 10.77.0.101 ┆ online ┆ 10.77.0.1 ┆ 10.77.0.1 ┆ 10      ┆ 840   ┆ 1     │";
    assert!(text.contains(whole) && !text.contains('\u{1b}'), "{text}");
    let text = render(&status, Style::Tables { width: 80, colour: true });
    assert!(text.contains("\u{1b}[32mok\u{1b}[0m"), "{text}");
}
