//! What the XDP program logs of packets: nothing, and at no cost, unless it is asked to; then what is
//! rare, and not too much of it. Needs root; says so where it cannot run, and fails where `CI=true`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod lab;

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aya::EbpfLoader;
use aya::programs::{ProgramInfo, Xdp};
use aya_log::EbpfLogger;
use rais::config::checked::XdpMode;
use rais::data_plane::bpf::{OBJECT, clean};
use rais_common::time::Time;
use rais_tests::netns::binary;
use rais_tests::wait;
use rais_tests::xdp::Rig;
use rais_tests::xdp::frames::{
    Arp, OTHERS, REQUEST, SERVICE as ADDRESS, advertisement, solicitation,
};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use lab::{Lab, SERVICE, interface};

const LIMIT: Duration = Duration::from_secs(10);

/// What was logged, in words.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{} {} {}", record.level(), record.target(), record.args());
        self.0.lock().unwrap().push(line);
    }

    fn flush(&self) {}
}

fn info(rig: &mut Rig) -> ProgramInfo {
    let program: &mut Xdp = rig.object().program_mut("rais_xdp").unwrap().try_into().unwrap();
    program.info().unwrap()
}

/// The program as the kernel runs it, in words.
fn translated(info: &ProgramInfo) -> String {
    let id = info.id().to_string();
    let output = Command::new("bpftool").args(["prog", "dump", "xlated", "id", &id]).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    assert!(text.contains("call bpf_ktime_get_boot_ns"), "{text}");
    text
}

// Input: the program with and without a log. Output: without, the verifier has left nothing of it.
#[test]
fn without_a_log_there_is_no_code_for_it() {
    let Some(mut without) = Rig::with_log(false) else { return };
    let mut with = Rig::with_log(true).unwrap();
    let (without, with) = (info(&mut without), info(&mut with));
    let sizes = [&without, &with].map(|info| info.size_translated().unwrap());
    println!("translated: {} bytes without, {} with", sizes[0], sizes[1]);
    assert!(sizes[0] + 1000 < sizes[1], "{sizes:?}");
    assert!(!translated(&without).contains("bpf_ringbuf_reserve"));
    assert!(translated(&with).contains("bpf_ringbuf_reserve"));
    assert!(!translated(&without).contains("log.rs"), "{}", translated(&without));
}

/// Frames that are worth a record, and what it says; `lease`: whether one lives.
fn rare() -> Vec<(bool, Vec<u8>, &'static str)> {
    let claim = Arp { operation: 2, sender: (OTHERS, ADDRESS), ..REQUEST };
    let other = Arp { hardware_type: 6, ..REQUEST };
    let mut far = solicitation();
    far.hop_limit = 254;
    vec![
        (true, claim.bytes(), "claim to ::ffff:10.77.0.101 from 02:00:00:00:00:cc"),
        (true, other.bytes(), "malformed question for ::ffff:10.77.0.101 from 02:00:00:00:00:bb"),
        (true, advertisement().bytes(), "claim to fd00::12:3456 from 02:00:00:00:00:bb"),
        (true, far.bytes(), "malformed question for fd00::12:3456 from 02:00:00:00:00:bb"),
        (
            false,
            REQUEST.bytes(),
            "no lease to answer a question for ::ffff:10.77.0.101 from 02:00:00:00:00:bb",
        ),
        (
            false,
            solicitation().bytes(),
            "no lease to answer a question for fd00::12:3456 from 02:00:00:00:00:bb",
        ),
    ]
}

// Input: each rare thing, and what is usual. Output: a record of the former; what becomes of the
// frames and what is counted is the same with a log and without.
#[test]
fn what_is_rare_is_logged() {
    let Some(mut without) = Rig::with_log(false) else { return };
    let mut with = Rig::with_log(true).unwrap();
    let lines = Lines::default();
    let mut logger = EbpfLogger::init_with_logger(with.object(), lines.clone()).unwrap();
    let mut run = |lease: bool, frame: &[u8]| {
        let until = if lease { rais::clock::now() + Duration::from_hours(1) } else { Time::ZERO };
        let [one, two] = [&mut without, &mut with].map(|rig| {
            rig.lease(until);
            (rig.run(frame), rig.counters())
        });
        assert_eq!(one, two);
    };
    for (lease, frame, expected) in rare() {
        run(lease, &frame);
        logger.flush();
        assert_eq!(lines.take(), [format!("INFO rais {expected}")]);
    }
    for frame in [REQUEST.bytes(), solicitation().bytes(), vec![0; 60]] {
        run(true, &frame);
        logger.flush();
        assert_eq!(lines.take(), Vec::<String>::new());
    }
}

// Input: a thousand questions without a lease. Output: some ten records.
#[test]
fn a_flood_is_logged_in_part() {
    let Some(mut rig) = Rig::with_log(true) else { return };
    let lines = Lines::default();
    let mut logger = EbpfLogger::init_with_logger(rig.object(), lines.clone()).unwrap();
    rig.lease(Time::ZERO);
    let start = rais::clock::now();
    for _ in 0..1000 {
        rig.run(&REQUEST.bytes());
        logger.flush();
    }
    let seconds = rais::clock::now().since(start).as_secs();
    let said = u64::try_from(lines.take().len()).unwrap();
    assert!((10..=10 * (seconds + 2)).contains(&said), "{said} in {seconds} s");
    assert_eq!(rig.counters().arp_refused, 1000);
}

// Input: the program with a log, loaded by a thread with two capabilities. Output: it is taken.
#[test]
fn two_capabilities_suffice_for_a_log() {
    Lab::run(|_| {
        let two = CapabilitySet::BPF | CapabilitySet::NET_ADMIN;
        let sets = CapabilitySets { effective: two, permitted: two, inheritable: two };
        set_capabilities(None, sets).unwrap();
        let mut loader = EbpfLoader::new();
        let mut object = loader.override_global("LOG_EVENTS", &1_u8, true).load(OBJECT).unwrap();
        let program: &mut Xdp = object.program_mut("rais_xdp").unwrap().try_into().unwrap();
        program.load().unwrap();
    });
}

// Input: the program on an interface. Output: without a log its ring buffer is a page; none is pinned.
#[test]
fn the_ring_buffer_is_small_unless_it_is_used() {
    Lab::run(|lab| {
        for (asked_for, bytes) in [(false, 4096), (true, 16_384)] {
            let service0 = interface("service0");
            let plane = lab.open().logging_packets(asked_for);
            let attached = plane.attach(&service0, XdpMode::Auto).unwrap();
            assert_eq!(attached.log.is_some(), asked_for);
            assert_eq!(attached.adopted, asked_for, "replaced in place");
            let json = |words: &[&str]| -> serde_json::Value {
                let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
                serde_json::from_slice(&output.stdout).unwrap()
            };
            let link = json(&["ip", "-j", "link", "show", "service0"]);
            let id = link[0]["xdp"]["prog"]["id"].to_string();
            let program = json(&["bpftool", "-j", "prog", "show", "id", &id]);
            let maps = program["map_ids"].as_array().unwrap().iter();
            let maps =
                maps.map(|id| json(&["bpftool", "-j", "map", "show", "id", &id.to_string()]));
            let ring = maps.into_iter().find(|map| map["name"] == "AYA_LOGS").unwrap();
            assert_eq!(ring["max_entries"], bytes, "{ring}");
            let pinned = fs::read_dir(lab.bpf_dir.join("v3")).unwrap().count();
            assert_eq!(pinned, 7, "six maps and a link");
        }
        assert_eq!(clean(&lab.bpf_dir).unwrap().len(), 8);
    });
}

/// An agent that ends with the test.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Starts an agent, and waits until it has the address.
fn agent(lab: &Lab, log_packets: bool) -> Agent {
    let dir = lab.bpf_dir.with_file_name("agent");
    fs::create_dir_all(&dir).unwrap();
    let path = dir.join("rais.toml");
    let config = format!(
        "[agent]\nrun_dir = \"{dir}\"\nbpf_dir = \"{bpf}\"\nlog_packets = {log_packets}\n\
         [[group]]\nname = \"web\"\naddress = \"239.77.0.1:7077\"\n\
         control_interfaces = [\"service0\"]\nservice_interface = \"service0\"\n\
         insecure = true\nfloating = [\"{SERVICE}\"]\n",
        dir = dir.display(),
        bpf = lab.bpf_dir.display(),
    );
    fs::write(&path, config).unwrap();
    let mut rais = Command::new(binary("rais").unwrap());
    rais.args(["run", "--config"]).arg(path).env_remove("RAIS_LOG").stdin(Stdio::null());
    let agent = Agent(rais.stderr(File::create("/mnt/agent.log").unwrap()).spawn().unwrap());
    let answered = || Ok(lab.answered().then_some(()));
    wait::until("the address to be answered", LIMIT, answered)
        .unwrap_or_else(|error| panic!("{error}: {}", said()));
    agent
}

fn said() -> String {
    fs::read_to_string("/mnt/agent.log").unwrap()
}

// Input: a claim, heard by an agent that is to log packets, and by the next that is not. Output: a line
// in the log of the first alone, which dies and leaves the program to the second.
#[test]
fn the_agent_says_it_where_it_is_told_to() {
    Lab::run(|lab| {
        let claim = ["arping", "-U", "-c", "1", "-w", "1", "-I", "client0", SERVICE];
        for log_packets in [true, false] {
            let agent = agent(lab, log_packets);
            lab.on_client(&["ip", "addr", "add", &format!("{SERVICE}/32"), "dev", "client0"]);
            lab.on_client(&claim);
            let line = format!("claim to {SERVICE} from ");
            if log_packets {
                let logged = || Ok(said().lines().find(|l| l.contains(&line)).map(str::to_owned));
                let found = wait::until("the claim in the log", LIMIT, logged).unwrap();
                println!("{found}");
                assert!(found.contains("service0"), "{found}");
            } else {
                let rounds = || Ok((!lab.on_client(&claim).stdout.is_empty()).then_some(()));
                wait::until("another claim", LIMIT, rounds).unwrap();
                assert!(!said().contains(&line), "{}", said());
            }
            lab.on_client(&["ip", "addr", "del", &format!("{SERVICE}/32"), "dev", "client0"]);
            // Killed: the program stays.
            drop(agent);
        }
        assert!(!clean(&lab.bpf_dir).unwrap().is_empty());
    });
}
