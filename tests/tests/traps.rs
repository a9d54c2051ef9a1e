//! SNMP notifications, as a real receiver understands them: by the names in the MIB.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rais::config::checked::{
    Secret, TrapAuth, TrapPrivacy, TrapSecurity, TrapUser, Traps as Config,
};
use rais::group::HostId;
use rais::traps::{Kind, Speaker, Trap, Traps, open_engine, shown_engine_id};
use rais_tests::scripts::Scripts;
use rais_tests::snmptrapd::{
    AUTH_PASSWORD, PORT, PRIVACY_PASSWORD, Receiver, USER, own_mibs, standard_mibs,
};
use rais_tests::trial::{LIMIT, Trial, id, service};

const KINDS: [(Kind, &str); 6] = [
    (Kind::Acquire, "raisAcquire"),
    (Kind::AcquireFail, "raisAcquireFail"),
    (Kind::Release, "raisRelease"),
    (Kind::ReleaseFail, "raisReleaseFail"),
    (Kind::TestFailed, "raisTestFailed"),
    (Kind::CannotAssign, "raisCannotAssign"),
];

/// The engine of the host of this number.
fn engine(number: u8) -> String {
    shown_engine_id(HostId(id(number)))
}

#[test]
fn the_mib_is_sound() {
    let mut smilint = Command::new("smilint");
    smilint.env("SMIPATH", standard_mibs().unwrap());
    let done = smilint.args(["-l4"]).arg(own_mibs().join("RAIS-MIB.txt")).output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.is_empty(), "{said}");
}

/// Sends all six, each of which arrives by its name.
fn all_six(name: &str, security: TrapSecurity, inform: bool, algorithms: (&str, &str)) {
    let scratch = Scripts::new().unwrap();
    let program = Command::new("snmptrapd");
    let receiver = Receiver::start(program, &scratch.path("d"), algorithms, &[engine(1)]).unwrap();
    let host = HostId(id(1));
    let signed = matches!(security, TrapSecurity::User(_)) && !inform;
    let state = scratch.path("state");
    let engine = signed.then(|| open_engine(&state, host).unwrap());
    let speaker = Speaker { group: "web".to_owned(), host, engine };
    let destinations = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, PORT))];
    let config = Config { destinations, inform, security };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (address, host) = (service(1).to_string(), id(1).to_string());
    let counters = runtime.block_on(async {
        let traps = Traps::start(runtime.handle(), Some(&config), &speaker);
        let counters = traps.counters().clone();
        for (kind, word) in KINDS {
            let address = (kind != Kind::TestFailed).then_some(service(1));
            traps.send(Trap { kind, address, reason: format!("why {word}: \"ü\"\n") });
        }
        traps.finish(LIMIT).await;
        counters
    });
    for (kind, word) in KINDS {
        let reason = format!("why {word}: \"?\"");
        let about = [("raisGroup", "web"), ("raisHost", &host), ("raisReason", &reason)];
        let line = receiver.wait(word, &about, LIMIT).unwrap();
        let on = format!("RAIS-MIB::raisServiceAddress.0 = {address}");
        assert_eq!(line.contains(&on), kind != Kind::TestFailed, "{name}: {line}");
    }
    assert_eq!(receiver.received().len(), KINDS.len(), "{name}");
    assert_eq!(counters.all()[0], ("sent", 6), "{name}");
}

fn user(auth: TrapAuth, privacy: TrapPrivacy) -> TrapSecurity {
    TrapSecurity::User(Box::new(TrapUser {
        name: USER.to_owned(),
        auth,
        auth_secret: Secret(AUTH_PASSWORD.to_owned()),
        privacy,
        privacy_secret: Secret(PRIVACY_PASSWORD.to_owned()),
    }))
}

#[test]
fn all_six_arrive_in_every_version() {
    let community = || TrapSecurity::Community(Secret("public".to_owned()));
    let (strong, usual) = (("SHA-512", "AES-256"), ("SHA-256", "AES"));
    all_six("2c traps", community(), false, usual);
    all_six("2c informs", community(), true, usual);
    all_six("3 traps", user(TrapAuth::Sha256, TrapPrivacy::Aes128), false, usual);
    all_six("3 informs", user(TrapAuth::Sha256, TrapPrivacy::Aes128), true, usual);
    all_six("strong traps", user(TrapAuth::Sha512, TrapPrivacy::Aes256), false, strong);
    all_six("strong informs", user(TrapAuth::Sha512, TrapPrivacy::Aes256), true, strong);
}

/// A file with a password, for its owner alone.
fn secret(scripts: &Scripts, name: &str, password: &str) -> PathBuf {
    let path = scripts.path(name);
    fs::write(&path, format!("{password}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// A path as a configuration has it.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

/// Starts the agent of a host that tells the client, and somebody who is not there. Its acquire
/// script fails while there is a file `broken`, its test while there is none called `ready-N`.
fn start(trial: &mut Trial, scripts: &Scripts, number: u8, inform: bool) {
    let broken = scripts.path("broken");
    let unbroken = format!("[ ! -e '{}' ]", broken.display());
    let [acquire, release] =
        ["acquire", "release"].map(|name| quoted(&scripts.program(name, &unbroken).unwrap()));
    let ready = scripts.path(&format!("ready-{number}"));
    fs::write(&ready, "").unwrap();
    let ready = quoted(&ready);
    let auth = quoted(&secret(scripts, "auth", AUTH_PASSWORD));
    let privacy = quoted(&secret(scripts, "privacy", PRIVACY_PASSWORD));
    let extra = format!(
        "[group.scripts]\nacquire = {acquire}\nrelease = {release}\n\
         [[group.test]]\nname = \"ready\"\nkind = \"file\"\npath = {ready}\ninterval = \"50ms\"\n\
         timeout = \"5s\"\nrise = 1\nfall = 1\n\
         [group.traps]\ndestinations = [\"10.77.0.99:162\", \"{}:{PORT}\"]\nversion = \"3\"\n\
         inform = {inform}\nuser = \"{USER}\"\nauth_file = {auth}\nprivacy_file = {privacy}\n",
        trial.client.address()
    );
    trial.add(number).unwrap();
    let config = trial.config(number, &[number], &extra).unwrap();
    let state = quoted(&scripts.path(&format!("state-{number}")));
    let config = config.replacen("[agent]\n", &format!("[agent]\nstate_dir = {state}\n"), 1);
    trial.host(number).start_agent(&config).unwrap();
}

#[test]
fn a_failover_a_failed_script_and_a_failed_test_are_told() {
    let scripts = Scripts::new().unwrap();
    let mut trial = Trial::new().unwrap();
    let receiver = Receiver::start(
        trial.client.command("snmptrapd"),
        &scripts.path("d"),
        ("SHA-256", "AES"),
        &[engine(1)],
    )
    .unwrap();
    start(&mut trial, &scripts, 1, false);
    start(&mut trial, &scripts, 2, true);
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    let told = |kind: &str, host: u8, address: u8, reason: &str| {
        let (host, address) = (id(host).to_string(), service(address).to_string());
        let about = [("raisGroup", "demo"), ("raisHost", &host), ("raisServiceAddress", &address)];
        let mut about = about.to_vec();
        if !reason.is_empty() {
            about.push(("raisReason", reason));
        }
        receiver.wait(kind, &about, LIMIT).unwrap();
    };
    told("raisAcquire", 1, 1, "unserved");
    told("raisAcquire", 2, 2, "unserved");

    trial.host(1).kill_agent().unwrap();
    told("raisAcquire", 2, 1, "host-down");
    // A receiver takes nothing that was sent before a start it has seen: starts are counted.
    trial.host(1).restart_agent().unwrap();
    told("raisRelease", 2, 1, "failback");
    told("raisAcquire", 1, 1, "failback");
    trial.settle(&[(1, 1), (2, 2)]).unwrap();

    fs::write(scripts.path("broken"), "").unwrap();
    fs::remove_file(scripts.path("ready-1")).unwrap();
    let failing = [("raisHost", "10.77.0.1")];
    let line = receiver.wait("raisTestFailed", &failing, LIMIT).unwrap();
    assert!(line.contains("ready: ") && !line.contains("raisServiceAddress"), "{line}");
    told("raisReleaseFail", 1, 1, "");
    told("raisRelease", 1, 1, "test-failed");
    told("raisAcquireFail", 2, 1, "");
    told("raisCannotAssign", 1, 1, "no host can take it");

    fs::remove_file(scripts.path("broken")).unwrap();
    trial.host(2).terminate_agent().unwrap();
    assert!(trial.host(2).wait_agent_end(LIMIT).unwrap().success());
    told("raisRelease", 2, 2, "shutdown");
}
