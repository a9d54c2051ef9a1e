//! Five real agents with real traffic of clients that resolve anew: a loaded host leaves the zone
//! and returns, clients go elsewhere meanwhile, and whoever cannot serve leaves at once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rais::clock;
use rais::status::{AddressState, Group};
use rais_tests::netns::Host;
use rais_tests::questions::Asker;
use rais_tests::scripts::Scripts;
use rais_tests::trial::{LIMIT, Trial, id, service};
use rais_tests::wait::{self, pause};

const HOSTS: u8 = 5;
/// Packets a second that count as full; the marks are thousandths of that.
const CAPACITY: u32 = 1_000;
/// Clients that resolve anew once a second, and the packets a second of each: 400 a host.
const CLIENTS: u32 = 40;
const EACH: u32 = 50;
const ROAMING: usize = CLIENTS as usize;
/// Addresses that stay however busy all hosts are.
const MINIMUM: usize = 2;

/// What the clients do.
#[derive(Default)]
struct Clients {
    /// Address of each client that resolves anew, by number.
    homes: Mutex<BTreeMap<u32, u8>>,
    /// Packets a second that come to an address besides, from such as never ask.
    heavy: Mutex<BTreeMap<u8, u32>>,
    stop: AtomicBool,
}

impl Clients {
    /// Asks a server for an address, as a client does that takes the first it is told; the next
    /// server where one does not answer.
    fn resolve(askers: &mut [Asker], turn: u32) -> Option<u8> {
        let first = usize::try_from(turn).unwrap();
        for at in 0..askers.len() {
            let asker = (first + at) % askers.len();
            if let Ok(Some(said)) = askers[asker].ask()
                && let Some(address) = said.first
            {
                let IpAddr::V4(address) = address else { continue };
                return Some(address.octets()[3] - 100);
            }
        }
        None
    }

    /// Resolves and sends what is due, by the clock: a late turn sends more.
    fn run(&self, socket: &UdpSocket, mut askers: Vec<Asker>) {
        let (mut owed, mut turn, mut due) = (BTreeMap::<u8, f64>::new(), 0_u32, 0.0);
        let mut last = clock::now();
        while !self.stop.load(Ordering::Relaxed) {
            pause(Duration::from_millis(10));
            let now = clock::now();
            let passed = now.since(last).as_secs_f64();
            last = now;
            // Each client once a second, one after the other.
            due += passed * f64::from(CLIENTS);
            while due >= 1.0 {
                due -= 1.0;
                turn += 1;
                if let Some(address) = Self::resolve(&mut askers, turn) {
                    self.homes.lock().unwrap().insert(turn % CLIENTS, address);
                }
            }
            let mut rates = self.heavy.lock().unwrap().clone();
            for &address in self.homes.lock().unwrap().values() {
                *rates.entry(address).or_default() += EACH;
            }
            for (address, rate) in rates {
                let owed = owed.entry(address).or_default();
                *owed += f64::from(rate) * passed;
                while *owed >= 1.0 {
                    *owed -= 1.0;
                    // An address that is on its way is asked in vain.
                    socket.send_to(&0_u64.to_be_bytes(), (service(address), 7)).ok();
                }
            }
            let mut answer = [0; 128];
            while socket.recv(&mut answer).is_ok() {}
        }
    }
}

/// The hosts and their clients.
struct Field {
    trial: Trial,
    scripts: Scripts,
    clients: Arc<Clients>,
    thread: Option<JoinHandle<()>>,
    /// Asks the server on each host.
    askers: BTreeMap<u8, Asker>,
}

impl Drop for Field {
    fn drop(&mut self) {
        self.clients.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

fn asker(client: &Host, number: u8) -> Asker {
    Asker::new(client, id(number), "www.web.example.net").unwrap()
}

impl Field {
    fn new() -> Self {
        let (mut trial, scripts) = (Trial::new().unwrap(), Scripts::new().unwrap());
        for number in 1..=HOSTS {
            let well = scripts.path(&format!("well{number}"));
            fs::write(&well, "").unwrap();
            let well = well.display();
            let section = format!(
                "high_water = 800\nlow_water = 500\n[[group.load]]\nkind = 'traffic'\nunit = \
                 'packets'\ncapacity = {CAPACITY}\n[[group.test]]\nname = 'well'\nkind = \
                 'file'\npath = '{well}'\ninterval = '100ms'\nrise = 1\nfall = 1\n[group.dns]\nzone \
                 = 'web.example.net'\nname = 'www'\nttl = '1s'\nminimum = {MINIMUM}\n"
            );
            trial.start(number, &[number], &section).unwrap();
        }
        let homes: Vec<_> = (1..=HOSTS).map(|n| (n, n)).collect();
        trial.settle(&homes).unwrap();
        let client = &trial.client;
        let askers = (1..=HOSTS).map(|n| (n, asker(client, n))).collect();
        let clients = Arc::new(Clients::default());
        // Evenly, until they resolve.
        let at = |n: u32| (n, u8::try_from(n % u32::from(HOSTS)).unwrap() + 1);
        *clients.homes.lock().unwrap() = (0..CLIENTS).map(at).collect();
        let socket = client.inside(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
        socket.set_nonblocking(true).unwrap();
        let theirs: Vec<Asker> = (1..=HOSTS).map(|n| asker(client, n)).collect();
        let thread = {
            let clients = Arc::clone(&clients);
            std::thread::spawn(move || clients.run(&socket, theirs))
        };
        Self { trial, scripts, clients, thread: Some(thread), askers }
    }

    fn heavy(&self, rates: &[(u8, u32)]) {
        *self.clients.heavy.lock().unwrap() = rates.iter().copied().collect();
    }

    /// How many clients that resolve anew are at an address.
    fn at(&self, number: u8) -> usize {
        self.clients.homes.lock().unwrap().values().filter(|home| **home == number).count()
    }

    /// What the server on a host says.
    fn ask(&mut self, number: u8) -> Option<BTreeSet<u8>> {
        let said = self.askers.get_mut(&number).unwrap().ask().unwrap()?;
        let last = |address: &IpAddr| match address {
            IpAddr::V4(v4) => v4.octets()[3] - 100,
            IpAddr::V6(_) => panic!("not IPv4"),
        };
        Some(said.addresses.iter().map(last).collect())
    }

    /// Waits until the servers on these hosts say these addresses.
    fn wait(&mut self, what: &str, servers: &[u8], addresses: &[u8]) {
        let wanted: BTreeSet<u8> = addresses.iter().copied().collect();
        for &server in servers {
            let mut last = None;
            let same = wait::until(what, LIMIT, || {
                last = self.ask(server);
                Ok((last.as_ref() == Some(&wanted)).then_some(()))
            });
            same.unwrap_or_else(|e| {
                panic!("{e}: h{server} says {last:?}, not {wanted:?}: {:?}", self.levels())
            });
        }
    }

    /// Looks for so long whether all servers keep to something.
    fn keeps(&mut self, what: &str, span: Duration, fine: impl Fn(&BTreeSet<u8>) -> bool) {
        let end = clock::now() + span;
        while clock::now() < end {
            for server in 1..=HOSTS {
                let said = self.ask(server);
                assert!(
                    said.as_ref().is_none_or(&fine),
                    "{what}: h{server} says {said:?}: {:?}",
                    self.levels()
                );
            }
        }
    }

    /// Utilisation of the hosts, as h1 sees them.
    fn levels(&self) -> BTreeMap<IpAddr, u32> {
        let group = self.trial.get(1).group().unwrap();
        group.hosts.iter().map(|host| (host.id, host.load)).collect()
    }

    /// Waits until h1 sees these loads.
    fn wait_loads(&self, what: &str, fine: impl Fn(&BTreeMap<IpAddr, u32>) -> bool) {
        let fine = |group: &Group| fine(&group.hosts.iter().map(|h| (h.id, h.load)).collect());
        self.trial.get(1).wait_group(what, LIMIT, fine).unwrap();
    }
}

const ALL: [u8; 5] = [1, 2, 3, 4, 5];

#[test]
fn clients_go_where_there_is_room_and_never_where_nobody_is() {
    let mut field = Field::new();
    field.wait("all to be advertised", &ALL, &ALL);
    field.wait_loads("some traffic everywhere", |loads| loads.values().all(|&load| load > 100));

    a_loaded_host_leaves_and_returns(&mut field);
    some_remain_when_all_are_loaded(&mut field);
    who_cannot_serve_leaves_at_once(&mut field);
}

fn a_loaded_host_leaves_and_returns(field: &mut Field) {
    assert!(field.at(3) > 0);
    field.heavy(&[(3, 700)]);
    field.wait("the loaded host to leave", &ALL, &[1, 2, 4, 5]);
    let others = wait::until("clients to go elsewhere", LIMIT, || {
        Ok((field.at(3) == 0).then(|| [1, 2, 4, 5].map(|n| field.at(n))))
    });
    let others = others.unwrap();
    assert!(others.iter().all(|&n| n > 0) && others.iter().sum::<usize>() == ROAMING, "{others:?}");
    // It has come down to between the marks by that, and stays out.
    let between = |loads: &BTreeMap<IpAddr, u32>| loads[&id(3)] > 500 && loads[&id(3)] <= 800;
    field.wait_loads("h3 between the marks", between);
    field.keeps("between the marks", Duration::from_secs(3), |said| !said.contains(&3));
    assert!(between(&field.levels()), "{:?}", field.levels());
    let dns = field.trial.get(1).group().unwrap().dns.unwrap();
    assert_eq!(dns.reasons.get(&service(3)).map(String::as_str), Some("busy"));

    field.heavy(&[(3, 100)]);
    field.wait("the host to return below the low mark", &ALL, &ALL);
    wait::until("clients to return", LIMIT, || Ok((field.at(3) > 0).then_some(()))).unwrap();
}

fn some_remain_when_all_are_loaded(field: &mut Field) {
    let rates = ALL.map(|n| (n, 1_500 + 100 * u32::from(n)));
    field.heavy(&rates);
    let all = |loads: &BTreeMap<IpAddr, u32>| loads.values().all(|&load| load > 800);
    field.wait_loads("all hosts to be loaded", all);
    for server in ALL {
        let few = wait::until("the others to leave", LIMIT, || {
            Ok(field.ask(server).filter(|said| said.len() == MINIMUM))
        });
        few.unwrap_or_else(|e| panic!("{e}: h{server}: {:?}", field.levels()));
    }
    field.keeps("the least loaded stay", Duration::from_secs(2), |said| said.len() == MINIMUM);
    field.heavy(&[]);
    field.wait("all to return", &ALL, &ALL);
}

fn who_cannot_serve_leaves_at_once(field: &mut Field) {
    let begin = clock::now();
    field.trial.host(5).kill_agent().unwrap();
    field.wait("the dead host to leave", &[1, 2, 3, 4], &[1, 2, 3, 4]);
    println!("dead: {:?}", clock::now().since(begin));
    // Its address is served by another, and not advertised there.
    let elsewhere = |group: &Group| {
        let orphan = group.addresses.iter().find(|a| a.address == service(5));
        orphan.is_some_and(|a| a.state == AddressState::Online && a.holders != [id(5)])
    };
    field.trial.get(1).wait_group("the orphan to be served", LIMIT, elsewhere).unwrap();
    field.keeps("orphans stay out", Duration::from_secs(2), |said| !said.contains(&5));

    let begin = clock::now();
    field.trial.get(4).ask(&["quiesce"]).unwrap();
    field.wait("the quiesced host to leave", &[1, 2, 3, 4], &[1, 2, 3]);
    println!("quiesced: {:?}", clock::now().since(begin));
    let begin = clock::now();
    fs::remove_file(field.scripts.path("well2")).unwrap();
    field.wait("the failed host to leave", &[1, 2, 3, 4], &[1, 3]);
    println!("failed, its test asked every 100 ms: {:?}", clock::now().since(begin));
    let dns = field.trial.get(1).group().unwrap().dns.unwrap();
    let words: BTreeMap<u8, &str> = [2, 4, 5]
        .into_iter()
        .filter_map(|n| Some((n, dns.reasons.get(&service(n))?.as_str())))
        .collect();
    assert_eq!(words, BTreeMap::from([(2, "failing"), (4, "quiesced"), (5, "orphaned")]));
    wait::until("clients to be where they may", LIMIT, || {
        Ok((field.at(1) + field.at(3) == ROAMING).then_some(()))
    })
    .unwrap();

    field.trial.get(4).ask(&["resume"]).unwrap();
    fs::write(field.scripts.path("well2"), "").unwrap();
    field.trial.host(5).restart_agent().unwrap();
    field.wait("all to return", &ALL, &ALL);
}
