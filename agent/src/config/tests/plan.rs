//! Two files → what it takes to get from one to the other.

use super::super::plan::{Fate, GroupPlan, Plan, plan};
use super::*;

/// The plan from one file to another.
fn between(old: &str, new: &str) -> Plan {
    plan(&checked(old), &checked(new)).unwrap_or_else(|frozen| panic!("{frozen}"))
}

/// What becomes of the one group of a file in which `from` is replaced.
fn group(file: &str, from: &str, to: &str) -> GroupPlan {
    assert_eq!(file.matches(from).count(), 1, "{from}");
    between(file, &file.replace(from, to)).groups.remove(0)
}

#[test]
fn the_same_file_changes_nothing() {
    for file in [LEAST, FULL] {
        let plan = between(file, file);
        assert!(plan.is_empty());
        assert_eq!(plan.to_string(), "group web: unchanged\n");
    }
    let later = "preferred = [ '10.77.0.101', \"2001:db8::1\" ] # as before";
    let plan = group(FULL, "preferred = [\"10.77.0.101\", \"2001:db8::1\"]", later);
    assert_eq!(plan.fate, Fate::Unchanged);
}

// What is in the fullest file, what is there instead → the line of the plan. None of it touches
// addresses.
#[test]
fn changes_in_place() {
    let rows = [
        ("role = \"member\"", "role = \"member\"\nspread = false", "`spread` (true -> false)"),
        ("heartbeat = \"10ms\"", "heartbeat = \"20ms\"", "`heartbeat` (10ms -> 20ms)"),
        ("timeout = \"50ms\"", "timeout = \"1s\"", "`timeout` (50ms -> 1s)"),
        (
            "preferred = [\"10.77.0.101\", \"2001:db8::1\"]",
            "preferred = [\"10.77.0.101\", \"10.77.0.102\"]",
            "`preferred` (-2001:db8::1 +10.77.0.102)",
        ),
        ("floating = [\"10.77.0.100\"]", "", "`floating` (-10.77.0.100)"),
        ("quorum = 2", "quorum = 3", "`quorum` (2 -> 3)"),
        ("failback = \"5m\"", "failback = \"never\"", "`failback` (5m -> never)"),
        ("placement = \"random\"", "", "`placement` (random -> least-utilised)"),
        ("orphan_timeout = \"30d\"", "", "`orphan_timeout` (30d -> 365d)"),
        ("high_water = 800", "high_water = 801", "`high_water` (800 -> 801)"),
        ("scale = 2000", "", "`scale` (2000 -> 1000)"),
        ("\"/etc/rais/web.key\", \"/etc/rais/mine.key\"", "\"/etc/rais/web.key\"", "`key_files`"),
        ("rise = 4", "rise = 3", "`test` (-port +port)"),
        ("name = \"look\"", "name = \"see\"", "`test` (-look +see)"),
        ("resource = \"memory\"", "resource = \"cpu\"", "`load`"),
        ("acquire = \"/bin/acquire\"", "", "`scripts.acquire` (/bin/acquire -> none)"),
        ("timeout = \"3s\"", "timeout = \"4s\"", "`scripts.timeout` (3s -> 4s)"),
        ("user = \"me\"", "user = \"you\"", "`traps`"),
    ];
    for (from, to, expected) in rows {
        let plan = group(FULL, from, to);
        assert_eq!(plan.to_string(), format!("web: changed: {expected}"));
        assert_eq!(plan.fate, Fate::Changed);
    }
    let insecure = group(LEAST, "key_files = [\"/etc/rais/web.key\"]", "insecure = true");
    assert_eq!(insecure.to_string(), "web: changed: `insecure`");
    let dns = between(LEAST, &format!("{LEAST}[group.dns]\nzone = 'web.example.net'\n"));
    assert_eq!(dns.to_string(), "group web: changed: `dns`\n");
    let watched = between(LEAST, &format!("{LEAST}role = 'observer'\n"));
    assert_eq!(watched.to_string(), "group web: changed: `role` (member -> observer)\n");
}

// What a group cannot go on with → it is restarted; the reason comes first.
#[test]
fn restarts() {
    let rows = [
        ("239.77.0.1:7077", "239.77.0.2:7077", "`address` (239.77.0.1:7077 -> 239.77.0.2:7077)"),
        ("[\"eth0\"]", "[\"eth0\", \"eth1\"]", "`control_interfaces` (eth0 -> eth0, eth1)"),
        (
            "service_interface = \"eth0\"",
            "quorum = 2\nservice_interface = \"eth1\"",
            "`service_interface` (eth0 -> eth1), `quorum` (1 -> 2)",
        ),
    ];
    for (from, to, expected) in rows {
        let plan = group(LEAST, from, to);
        assert_eq!(plan.to_string(), format!("web: restarted: {expected}"));
        assert_eq!(plan.fate, Fate::Restarted);
    }
    // The interface is another one of the same name.
    let (old, mut new) = (checked(LEAST), checked(LEAST));
    new.groups[0].service_interface.index += 1;
    let anew = plan(&old, &new).unwrap();
    assert_eq!(
        anew.to_string(),
        "group web: restarted: `service_interface` (eth0 was made anew)\n"
    );
    // Service addresses that came to it meanwhile make no difference.
    let mut new = checked(LEAST);
    new.groups[0].service_interface.addresses.push(ip("10.77.0.102"));
    new.groups[0].control_interfaces[0].addresses.push(ip("10.77.0.102"));
    assert!(plan(&old, &new).unwrap().is_empty());
}

#[test]
fn groups_come_and_go() {
    let second = LEAST.replace("web\"", "mail\"").replace("239.77.0.1", "239.77.0.2");
    let both = format!("{second}\n{LEAST}");
    assert_eq!(between(LEAST, &both).to_string(), "group mail: added\ngroup web: unchanged\n");
    assert_eq!(between(&both, LEAST).to_string(), "group web: unchanged\ngroup mail: removed\n");
    assert_eq!(between(LEAST, &second).to_string(), "group mail: added\ngroup web: removed\n");
}

// An address goes from one group to another → only where the first has ended before the second
// starts.
#[test]
fn an_address_is_one_groups_at_a_time() {
    let web = format!("{LEAST}floating = ['10.77.0.100']\n");
    let named =
        |name: &str| web.replace("web\"", &format!("{name}\"")).replace("77.0.1:", "77.0.2:");
    let mail = LEAST.replace("web\"", "mail\"").replace("239.77.0.1", "239.77.0.2");
    let taken = |old: &str, new: &str| {
        plan(&checked(old), &checked(new)).err().map(|impossible| impossible.to_string())
    };
    let said = "group `mail`: 10.77.0.100 is still an address of group `web`; take it out there and \
                reload, and add it here once `rais status` does not show it any more";
    let (both, moved) = (format!("{web}{mail}"), format!("{LEAST}{}", named("mail")));
    assert_eq!(taken(&both, &moved).as_deref(), Some(said));
    assert_eq!(taken(&both, &named("mail")).as_deref(), Some(said), "it goes on");
    assert_eq!(taken(&web, &moved).as_deref(), Some(said), "the other goes on");
    assert_eq!(taken(&web, &named("mail")), None, "the first ends, then the second starts");
    let elsewhere =
        moved.replacen("service_interface = \"eth0\"", "service_interface = \"eth1\"", 2);
    assert_eq!(taken(&both, &elsewhere), None, "on another interface");
}

#[test]
fn of_the_agent_only_the_metrics_change() {
    let plan = between(FULL, &FULL.replace("metrics = \"[::1]:9477\"", ""));
    assert_eq!(
        plan.to_string(),
        "agent: changed: `metrics` ([::1]:9477 -> none)\ngroup web: unchanged\n"
    );
    assert!(!plan.is_empty());
}

#[test]
fn what_cannot_change_is_named_with_the_remedy() {
    let refused = |from: &str, to: &str| {
        assert_eq!(FULL.matches(from).count(), 1, "{from}");
        plan(&checked(FULL), &checked(&FULL.replace(from, to))).unwrap_err().to_string()
    };
    let rows = [
        ("host_id = \"10.77.0.9\"", "", "`host_id` (10.77.0.9 -> 10.77.0.1)"),
        ("/run/other", "/run/b", "`run_dir` (/run/other -> /run/b)"),
        ("/sys/fs/bpf/other", "/b", "`bpf_dir` (/sys/fs/bpf/other -> /b)"),
        ("/var/lib/other", "/c", "`state_dir` (/var/lib/other -> /c)"),
        ("xdp_mode = \"generic\"", "", "`xdp_mode`"),
        ("log_packets = true", "", "`log_packets` (true -> false)"),
        ("realtime = false", "", "`realtime` (false -> true)"),
    ];
    for (from, to, expected) in rows {
        assert_eq!(
            refused(from, to),
            format!(
                "[agent]: {expected} cannot change while the agent runs; put it back as it was, or \
                 restart the agent"
            )
        );
    }
    assert_eq!(
        refused(
            "run_dir = \"/run/other\"\nbpf_dir = \"/sys/fs/bpf/other\"",
            "run_dir = \"/a\"\nbpf_dir = \"/b\"",
        ),
        "[agent]: `run_dir` (/run/other -> /a), `bpf_dir` (/sys/fs/bpf/other -> /b) cannot change \
         while the agent runs; put each back as it was, or restart the agent"
    );
}

#[test]
fn as_json() {
    let plan = between(LEAST, &format!("{LEAST}quorum = 2\n"));
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(
        json,
        r#"{"agent":[],"groups":[{"name":"web","fate":"changed","keys":[{"key":"quorum","how":"1 -> 2"}]}]}"#
    );
    assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan);
}
