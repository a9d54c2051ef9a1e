//! The instruments measured: a cut is seen, a duplicate is seen, nothing is left behind. No agent
//! takes part; addresses are moved by hand.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::net::IpAddr;
use std::time::Duration;

use rais::announce::{ArpForm, PacketSocket, gratuitous_arp, neighbour_advertisement};
use rais_tests::family::Family;
use rais_tests::for_both_families;
use rais_tests::many::eth0;
use rais_tests::netns::{Bed, Host, Watch, bystander, watch};
use rais_tests::probe::AddressReport;
use rais_tests::wait::pause;

/// Two hosts with the echo service, and a client; the address is on the first host.
struct Scene {
    client: Host,
    h1: Host,
    h2: Host,
    address: IpAddr,
    bed: Bed,
}

impl Scene {
    fn new(family: Family) -> Self {
        let bed = Bed::with(family).unwrap();
        let address = family.service(0);
        let mut h1 = bed.host("h1", 1).unwrap();
        let mut h2 = bed.host("h2", 2).unwrap();
        let client = bed.host("client", 50).unwrap();
        h1.start_service().unwrap();
        h2.start_service().unwrap();
        let scene = Self { client, h1, h2, address, bed };
        scene.take(&scene.h1);
        scene
    }

    /// The host gets the address and says so.
    fn take(&self, host: &Host) {
        self.add_address(host);
        let (mac, index) = eth0(host).unwrap();
        let frame = match self.address {
            IpAddr::V4(v4) => gratuitous_arp(ArpForm::Request, mac, v4).to_vec(),
            IpAddr::V6(v6) => neighbour_advertisement(mac, v6).to_vec(),
        };
        let socket = host.inside(|| PacketSocket::open(index, 0)).unwrap().unwrap();
        socket.send(&frame).unwrap();
    }

    /// The host gets the address and tells nobody.
    fn add_address(&self, host: &Host) {
        let address = self.address.to_string();
        host.run("ip", &["address", "add", &address, "dev", "eth0"]).unwrap();
    }

    /// The host loses the address.
    fn drop_address(&self, host: &Host) {
        let address = self.address.to_string();
        host.run("ip", &["address", "delete", &address, "dev", "eth0"]).unwrap();
    }

    /// What the watch saw, now that everything before counts.
    fn seen(&self, watch: &mut Watch) -> AddressReport {
        pause(Duration::from_millis(150));
        let report = watch.report().unwrap();
        println!("{report:?}");
        report.of(self.address).unwrap().clone()
    }

    /// A watch that has seen the first answers.
    fn watch(&self) -> Watch {
        let mut watch = watch(&self.client, &[self.address]).unwrap();
        pause(Duration::from_millis(500));
        watch.report().unwrap();
        watch
    }
}

for_both_families! {
    a_quiet_network_shows_no_loss_and_one_host
    a_cut_is_seen_for_as_long_as_it_lasts_and_is_silent
    a_move_is_a_short_outage_and_one_handover
    a_duplicate_is_seen_for_as_long_as_it_lasts
    watching_does_not_teach_the_client_where_an_address_went
    an_address_that_nobody_has_does_not_disturb_the_others
}

fn a_quiet_network_shows_no_loss_and_one_host(family: Family) {
    let scene = Scene::new(family);
    let mut watch = scene.watch();
    pause(Duration::from_secs(1));
    let report = watch.report().unwrap();
    println!("{report:?}");
    let seen = report.of(scene.address).unwrap();
    assert!(seen.sent + report.skipped >= 900, "sent {}", seen.sent);
    assert_eq!(seen.lost, 0);
    assert_eq!(seen.hosts.keys().collect::<Vec<_>>(), ["h1"]);
    assert_eq!((seen.arp_hosts.len(), seen.arp_doubled), (1, 0));
    assert!(seen.arp_unanswered == 0 && seen.arp_asked >= 400, "{}", seen.arp_asked);
    // Nothing is lost; a busy machine may still be late.
    assert!(seen.outage_ms < 50.0 + report.longest_stall_ms, "{}", seen.outage_ms);
}

fn a_cut_is_seen_for_as_long_as_it_lasts_and_is_silent(family: Family) {
    let scene = Scene::new(family);
    let mut watch = scene.watch();
    scene.bed.cut(&scene.h1).unwrap();
    pause(Duration::from_millis(300));
    let carrier = scene.h1.run("ip", &["link", "show", "eth0"]).unwrap();
    assert!(carrier.contains("LOWER_UP"), "the host can tell: {carrier}");
    scene.bed.heal().unwrap();
    pause(Duration::from_millis(200));
    let seen = scene.seen(&mut watch);
    assert!((295.0..400.0).contains(&seen.outage_ms), "{}", seen.outage_ms);
    assert!(seen.lost >= 200 && seen.answering);
    assert_eq!(seen.arp_doubled, 0);
}

fn a_move_is_a_short_outage_and_one_handover(family: Family) {
    let scene = Scene::new(family);
    let mut watch = scene.watch();
    scene.drop_address(&scene.h1);
    scene.take(&scene.h2);
    let seen = scene.seen(&mut watch);
    assert!(seen.outage_ms < 500.0 && seen.lost > 0, "{}", seen.outage_ms);
    assert_eq!(seen.last_host.as_deref(), Some("h2"));
    assert_eq!((seen.arp_handovers, seen.arp_doubled), (1, 0));
}

fn a_duplicate_is_seen_for_as_long_as_it_lasts(family: Family) {
    let scene = Scene::new(family);
    let mut watch = scene.watch();
    scene.add_address(&scene.h2);
    pause(Duration::from_millis(200));
    scene.drop_address(&scene.h1);
    let seen = scene.seen(&mut watch);
    assert!(seen.arp_doubled >= 20, "{}", seen.arp_doubled);
    assert!((195.0..500.0).contains(&seen.arp_doubled_ms), "{}", seen.arp_doubled_ms);
    assert_eq!(seen.arp_hosts.len(), 2);
}

fn watching_does_not_teach_the_client_where_an_address_went(family: Family) {
    let scene = Scene::new(family);
    let mut watch = scene.watch();
    // The second host answers requests but announces nothing: a client goes on asking the first.
    scene.drop_address(&scene.h1);
    scene.add_address(&scene.h2);
    pause(Duration::from_millis(300));
    let seen = scene.seen(&mut watch);
    assert_eq!(seen.arp_handovers, 1);
    assert!(!seen.answering, "the watch itself mended what it was to measure");
}

fn an_address_that_nobody_has_does_not_disturb_the_others(family: Family) {
    let scene = Scene::new(family);
    let nobody = family.service(1);
    let mut watch = watch(&scene.client, &[nobody, scene.address]).unwrap();
    pause(Duration::from_millis(500));
    watch.report().unwrap();
    pause(Duration::from_millis(1_500));
    let report = watch.report().unwrap();
    println!("{report:?}");
    assert_eq!(report.of(scene.address).unwrap().lost, 0);
    let unserved = report.of(nobody).unwrap();
    assert!(!unserved.answering && unserved.lost == unserved.sent && unserved.outage_ms > 1_400.0);
    assert_eq!(unserved.arp_unanswered, unserved.arp_asked);
}

#[test]
fn one_way_cuts_go_one_way() {
    let scene = Scene::new(Family::V4);
    let ping =
        |from: &Host, to: &str| from.run("arping", &["-q", "-f", "-w", "1", "-I", "eth0", to]);
    ping(&scene.h1, "10.77.0.2").unwrap();
    scene.bed.block(&scene.h1, &scene.h2).unwrap();
    ping(&scene.h1, "10.77.0.2").unwrap_err();
    ping(&scene.h1, "10.77.0.50").unwrap();
    ping(&scene.h2, "10.77.0.50").unwrap();
    scene.bed.heal().unwrap();
    scene.bed.mute(&scene.h2).unwrap();
    // What a muted host hears shows in its counters; what it says is heard by nobody.
    let before = received(&scene.h2);
    ping(&scene.h1, "10.77.0.2").unwrap_err();
    assert!(received(&scene.h2) > before);
    scene.bed.heal().unwrap();
    scene.bed.deafen(&scene.h2).unwrap();
    let before = received(&scene.h2);
    ping(&scene.h1, "10.77.0.2").unwrap_err();
    assert_eq!(received(&scene.h2), before);
    scene.bed.heal().unwrap();
    ping(&scene.h1, "10.77.0.2").unwrap();
}

/// ARP requests for the host's own address that reached it, by its interface's packet counter.
fn received(host: &Host) -> u64 {
    let table = host.run("cat", &["/proc/net/dev"]).unwrap();
    let line = table.lines().find(|line| line.trim_start().starts_with("eth0:")).unwrap();
    line.split_whitespace().nth(2).unwrap().parse().unwrap()
}

#[test]
fn nothing_is_left_after_drop_or_panic() {
    let scene = Scene::new(Family::V4);
    let id = scene.bed.id().to_owned();
    let watch = scene.watch();
    assert!(bystander(&id).len() >= 8, "{:?}", bystander(&id));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _held = (watch, scene);
        panic!("on purpose");
    }));
    assert!(panicked.is_err());
    assert_eq!(bystander(&id), Vec::<String>::new());
}
