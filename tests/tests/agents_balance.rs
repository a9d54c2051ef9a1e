//! Ten real agents, fifty addresses and real traffic: an even spread, failures that move nothing
//! but what failed, and a host that sheds what it cannot bear.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rais::status::{AddressState, Group};
use rais_tests::netns::{AgentConfig, Host};
use rais_tests::trial::{Trial, id, service};
use rais_tests::wait::pause;

const HOSTS: u8 = 10;
/// Numbers of the floating addresses; those up to [`HOSTS`] belong to the host of that number.
const FLOATING: std::ops::Range<u8> = 11..51;
/// Ten agents share two cores with the traffic and the test.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Packets a second that count as full.
const CAPACITY: u32 = 1_000;
/// What clients send to each address as a rule, in packets a second.
const CALM: u32 = 20;
/// How long an even spread may take: most moves wait a second for each other.
const EVEN_WITHIN: Duration = Duration::from_secs(90);

const POLICY: &str = r#"
high_water = 800
low_water = 500
[[group.load]]
kind = "traffic"
unit = "packets"
capacity = 1000
"#;

/// Clients of all addresses, each of which gets so many packets a second.
struct Traffic {
    rates: Arc<Mutex<BTreeMap<u8, u32>>>,
    answers: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Traffic {
    fn start(client: &Host) -> Self {
        let socket = client.inside(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
        socket.set_nonblocking(true).unwrap();
        let rates: BTreeMap<u8, u32> = (1..FLOATING.end).map(|n| (n, CALM)).collect();
        let rates = Arc::new(Mutex::new(rates));
        let (answers, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let thread = {
            let (rates, answers, stop) = (rates.clone(), answers.clone(), stop.clone());
            std::thread::spawn(move || send(&socket, &rates, &answers, &stop))
        };
        Self { rates, answers, stop, thread: Some(thread) }
    }

    fn set(&self, address: u8, rate: u32) {
        self.rates.lock().unwrap().insert(address, rate);
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

/// Sends what is due, by the clock: a late turn sends more.
fn send(
    socket: &UdpSocket,
    rates: &Mutex<BTreeMap<u8, u32>>,
    answers: &AtomicU64,
    stop: &AtomicBool,
) {
    let mut owed: BTreeMap<u8, f64> = BTreeMap::new();
    let mut last = rais::clock::now();
    while !stop.load(Ordering::Relaxed) {
        pause(Duration::from_millis(10));
        let now = rais::clock::now();
        let passed = now.since(last).as_secs_f64();
        last = now;
        for (&number, &rate) in &*rates.lock().unwrap() {
            let owed = owed.entry(number).or_default();
            *owed += f64::from(rate) * passed;
            while *owed >= 1.0 {
                *owed -= 1.0;
                // An address that is on its way is asked in vain.
                socket.send_to(&0_u64.to_be_bytes(), (service(number), 7)).ok();
            }
        }
        let mut answer = [0; 128];
        while socket.recv(&mut answer).is_ok() {
            answers.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Ten hosts with an address each, forty addresses that float, and traffic to all of them.
fn ten_hosts() -> (Trial, Traffic) {
    let mut trial = Trial::new().unwrap();
    for number in 1..=HOSTS {
        trial.add(number).unwrap();
    }
    let traffic = Traffic::start(&trial.client);
    for number in 1..=HOSTS {
        let config = AgentConfig {
            heartbeat: Duration::from_millis(100),
            timeout: TIMEOUT,
            preferred: vec![service(number)],
            floating: FLOATING.map(service).collect(),
            quorum: 6,
        };
        let text = config.toml(trial.get(number), &trial.bed.key_file().unwrap()) + POLICY;
        trial.host(number).start_agent(&text).unwrap();
    }
    (trial, traffic)
}

/// Who has each address, and under which epoch, where every one is online on one host.
fn homes(group: &Group) -> Option<BTreeMap<IpAddr, (IpAddr, u64)>> {
    let online = |a: &rais::status::Address| a.state == AddressState::Online;
    let all = group.addresses.len() == usize::from(FLOATING.end) - 1;
    let listed = group.hosts.iter().flat_map(|host| host.addresses.iter().map(|a| (host.id, a)));
    let homes = || listed.map(|(host, a)| (a.address, (host, a.epoch))).collect();
    (all && group.addresses.iter().all(online)).then(homes)
}

/// How many addresses each host in sight has.
fn counts(group: &Group) -> BTreeMap<IpAddr, usize> {
    group.hosts.iter().map(|host| (host.id, host.addresses.len())).collect()
}

fn is_even(group: &Group, hosts: usize) -> bool {
    let counts = counts(group);
    let (least, most) = (counts.values().min(), counts.values().max());
    let even = least.zip(most).is_some_and(|(least, most)| most - least <= 1);
    even && counts.len() == hosts && homes(group).is_some()
}

/// Waits until a host sees so many, equally busy, and an even spread over them.
fn wait_even(host: &Host, hosts: usize) -> Group {
    let what = format!("an even spread over {hosts} hosts");
    let alike = |group: &Group| {
        let levels = levels(group);
        let (least, most) = (levels.values().min().unwrap(), levels.values().max().unwrap());
        least + 50 > *most
    };
    host.wait_group(&what, EVEN_WITHIN, |group| is_even(group, hosts) && alike(group)).unwrap()
}

/// Utilisation of each host in thousandths.
fn levels(group: &Group) -> BTreeMap<IpAddr, u64> {
    let level =
        |host: &rais::status::Host| u64::from(host.load) * 1_000 / u64::from(host.capacity.max(1));
    group.hosts.iter().map(|host| (host.id, level(host))).collect()
}

// A host is killed → every address that was not its own stays where it was, under the epoch it had,
// and its own are spread evenly over the others. It returns → it has its part again.
#[test]
fn a_failure_moves_only_what_failed() {
    let (mut trial, traffic) = ten_hosts();
    wait_even(trial.get(5), 10);
    for failed in [1, 7] {
        let observer = if failed == 1 { 2 } else { 1 };
        let before = homes(&trial.get(observer).group().unwrap()).unwrap();
        trial.host(failed).kill_agent().unwrap();
        let nine = trial
            .get(observer)
            .wait_group("nine hosts with everything", EVEN_WITHIN, |group| {
                group.hosts.len() == 9 && homes(group).is_some()
            })
            .unwrap();
        let after = homes(&nine).unwrap();
        for (address, (holder, epoch)) in &before {
            let stays = *holder == id(failed) || after[address] == (*holder, *epoch);
            assert!(stays, "{address}: {holder} epoch {epoch}, then {:?}", after[address]);
        }
        assert!(is_even(&nine, 9), "{:?}", counts(&nine));
        trial.host(failed).restart_agent().unwrap();
        wait_even(trial.get(observer), 10);
    }
    assert!(traffic.answers.load(Ordering::Relaxed) > 0, "nothing was ever answered");
}

// Clients turn to the addresses of one host until it is above its high water mark → it sheds
// floating addresses until it is below, and in the minute after that nothing moves.
#[test]
fn a_busy_host_sheds_until_it_bears_the_rest() {
    let (trial, traffic) = ten_hosts();
    let even = wait_even(trial.get(1), 10);
    let busy = id(3);
    let floats = |address: &IpAddr| FLOATING.map(service).any(|a| a == *address);
    let homes_before = homes(&even).unwrap();
    let its_own = || homes_before.iter().filter(|(a, home)| home.0 == busy && floats(a));
    let share = u32::try_from(its_own().count()).unwrap();
    // Two addresses more than it bears.
    let rate = CAPACITY * 7 / 10 / (share - 2);
    for address in its_own().map(|(&address, _)| address) {
        let number = FLOATING.into_iter().find(|&n| service(n) == address).unwrap();
        traffic.set(number, rate);
    }
    let observer = trial.get(1);
    let limit = Duration::from_mins(1);
    observer.wait_group("h3 above its mark", limit, |g| levels(g)[&busy] > 800).unwrap();
    let last = observer.last_event().unwrap();
    let calm = |group: &Group| levels(group)[&busy] <= 800 && homes(group).is_some();
    let relieved = observer.wait_group("h3 below its mark", limit, calm).unwrap();
    let settled = homes(&relieved).unwrap();
    let moved: Vec<_> = homes_before.iter().filter(|(a, home)| settled[*a] != **home).collect();
    assert!((2..=3).contains(&moved.len()), "{moved:?}");
    assert!(moved.iter().all(|(a, home)| home.0 == busy && floats(a)), "{moved:?}");
    let reasons = observer.events_after(last).unwrap();
    let released: Vec<_> = reasons.iter().filter(|e| e.kind == "release-ordered").collect();
    let balance = |e: &&&rais::events::Event| e.reason.as_deref() == Some("balance");
    assert_eq!(released.iter().filter(balance).count(), moved.len(), "{reasons:#?}");

    pause(Duration::from_mins(1));
    let later = observer.group().unwrap();
    assert_eq!(homes(&later), Some(settled), "something moved in the minute after");
    assert!(levels(&later).values().all(|&level| level <= 800), "{:?}", levels(&later));
    let busiest = levels(&later)[&busy];
    assert!(busiest > 300, "the traffic has stopped: {busiest}");
}
