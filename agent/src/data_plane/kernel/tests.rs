//! The plane on an interface that is a table in memory.

use std::collections::BTreeMap;
use std::sync::Condvar;

use super::*;

/// What is on the interface, and for how many seconds it was put there last.
#[derive(Clone, Default)]
struct Table(Arc<(Mutex<BTreeMap<IpAddr, u32>>, Condvar)>);

impl Table {
    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<IpAddr, u32>) -> T) -> T {
        let result = change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
        result
    }

    fn addresses(&self) -> Vec<IpAddr> {
        self.change(|table| table.keys().copied().collect())
    }

    /// Waits until this is on it, and nothing else.
    fn wait(&self, wanted: &[IpAddr]) {
        let table = self.0.0.lock().unwrap();
        let other = |table: &mut BTreeMap<IpAddr, u32>| !table.keys().eq(wanted);
        let limit = Duration::from_secs(10);
        let (_table, over) = self.0.1.wait_timeout_while(table, limit, other).unwrap();
        assert!(!over.timed_out(), "waited for {wanted:?}");
    }
}

impl Interface for Table {
    fn put(&mut self, addresses: &[IpAddr], seconds: u32) -> Vec<io::Result<()>> {
        self.change(|table| table.extend(addresses.iter().map(|&address| (address, seconds))));
        addresses.iter().map(|_| Ok(())).collect()
    }

    fn take(&mut self, addresses: &[IpAddr]) -> Vec<io::Result<()>> {
        self.change(|table| table.retain(|address, _| !addresses.contains(address)));
        addresses.iter().map(|_| Ok(())).collect()
    }
}

fn a(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

const LONG: Duration = Duration::from_hours(1);

// Input: the calls of an acquisition, a lapse, a renewal and a release. Output: what is on the
// interface, whoever has to notice.
#[test]
fn an_address_is_there_while_it_is_open_and_leased() {
    let table = Table::default();
    let mut plane = KernelPlane::start(table.clone(), false).unwrap();
    plane.fence(a(1)).unwrap();
    plane.open(a(1)).unwrap();
    assert!(table.addresses().is_empty(), "there is no lease");
    plane.lease(clock::now() + LONG).unwrap();
    table.wait(&[a(1)]);
    plane.open(a(2)).unwrap();
    assert_eq!(table.addresses(), [a(1), a(2)]);
    plane.fence(a(1)).unwrap();
    assert_eq!(table.addresses(), [a(2)]);
    plane.lease(clock::now() + Duration::from_millis(20)).unwrap();
    table.wait(&[]);
    plane.lease(clock::now() + LONG).unwrap();
    table.wait(&[a(2)]);
    plane.lease(Time::ZERO).unwrap();
    table.wait(&[]);
    plane.lease(clock::now() + LONG).unwrap();
    table.wait(&[a(2)]);
    plane.fence_all(&[a(1), a(2)]).unwrap();
    plane.forget(a(2)).unwrap();
    assert!(table.addresses().is_empty());
}

// The interface loses an address that is open → it is put there again.
#[test]
fn what_is_open_is_renewed() {
    let table = Table::default();
    let mut plane = KernelPlane::start(table.clone(), false).unwrap();
    plane.lease(clock::now() + LONG).unwrap();
    let many: Vec<IpAddr> = (0..100).map(a).collect();
    plane.open_all(&many).unwrap();
    for _ in 0..2 {
        table.change(BTreeMap::clear);
        table.wait(&many);
    }
}

// The driver is gone → everything goes with the lease.
#[test]
fn nothing_outlasts_the_lease() {
    let table = Table::default();
    let mut plane = KernelPlane::start(table.clone(), false).unwrap();
    plane.lease(clock::now() + Duration::from_millis(300)).unwrap();
    plane.open(a(1)).unwrap();
    drop(plane);
    assert_eq!(table.addresses(), [a(1)]);
    table.wait(&[]);
}

// What is left of a lease → whole seconds that last at least as long, and how long at most.
#[test]
fn the_kernel_is_told_whole_seconds() {
    for (left, expected) in [(1, 1), (250, 1), (750, 1), (751, 2), (1_900, 3), (10_000, 11)] {
        let left = Duration::from_millis(left);
        assert_eq!(seconds(left), Some(expected), "{left:?}");
        assert!(Duration::from_secs(expected.into()) <= left + OVERHANG);
    }
    assert_eq!(seconds(Duration::ZERO), None);
}

#[test]
fn more_than_can_be_put_there_between_heartbeats_is_refused() {
    let mut plane = KernelPlane::start(Table::default(), false).unwrap();
    plane.lease(clock::now() + LONG).unwrap();
    let address = |n: usize| IpAddr::from(u32::try_from(n).unwrap().to_be_bytes());
    let many: Vec<IpAddr> = (0..=MAX_HELD).map(address).collect();
    let (at, error) = plane.open_all(&many).unwrap_err();
    assert_eq!(at, MAX_HELD);
    let said = format!("{error}");
    assert!(said.contains("256 addresses"), "{said}");
    plane.open(address(0)).unwrap();
    plane.fence(address(0)).unwrap();
    plane.open(address(MAX_HELD)).unwrap();
}

// What only the XDP program can do is refused, and the driver fences.
#[test]
fn nothing_is_handed_over() {
    let mut plane = KernelPlane::start(Table::default(), false).unwrap();
    assert!(plane.stage(a(1), [2; 6]).is_err());
    assert!(plane.forward(a(1), [2; 6], Time::END, true).is_err());
}
