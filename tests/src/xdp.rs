//! The XDP program, run by the kernel on bytes (`BPF_PROG_TEST_RUN`), and frames to run it on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test fails by panicking"
)]

pub mod cost;
pub mod frames;

use std::time::Duration;

use aya::maps::{Array, HashMap, MapData, PerCpuArray, PerCpuHashMap, PerCpuValues, RingBuf};
use aya::programs::{TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use rais_common::maps::{
    Counters, FilterWord, Lease, STATE_FENCED, STATE_OPEN, ServiceEntry, ServiceKey, Traffic,
    filter_bit, mapped,
};
use rais_common::time::Time;

use frames::{OURS, SERVICE, SERVICE6};

/// Verdict: nowhere.
pub const DROP: u32 = 1;
/// Verdict: on to the kernel.
pub const PASS: u32 = 2;
/// Verdict: out where it came in.
pub const SEND_BACK: u32 = 3;

/// The kernel lets a test packet come in by the loopback interface.
pub const LOOPBACK: u32 = 1;
/// The group's slot.
pub const SLOT: u32 = 5;
/// The program and its maps, unpinned and apart from every other instance.
pub struct Rig {
    object: Ebpf,
}

impl std::fmt::Debug for Rig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rig")
    }
}

impl Rig {
    #[must_use]
    /// One with both service addresses open here under a live lease. None: cannot run here.
    pub fn new() -> Option<Self> {
        Self::with_log(false)
    }

    /// As [`new`](Self::new), with or without what is logged of packets.
    #[must_use]
    pub fn with_log(asked_for: bool) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "CI must run as root");
            eprintln!("SKIPPED, NOT TESTED: loading the XDP program needs root");
            return None;
        }
        let switch = u8::from(asked_for);
        let mut loader = EbpfLoader::new();
        loader.override_global("LOG_EVENTS", &switch, true);
        let mut object = loader.load(rais::data_plane::bpf::OBJECT).unwrap();
        let program: &mut Xdp = object.program_mut("rais_xdp").unwrap().try_into().unwrap();
        program.load().unwrap();
        let mut rig = Self { object };
        rig.lease(rais::clock::now() + Duration::from_hours(1));
        for key in [v4_key(), v6_key()] {
            rig.entry(key, STATE_OPEN);
            let cpus = aya::util::nr_cpus().unwrap();
            let zero = PerCpuValues::try_from(vec![Traffic::default(); cpus]).unwrap();
            let mut map: PerCpuHashMap<&mut MapData, ServiceKey, Traffic> =
                rig.object.map_mut("TRAFFIC").unwrap().try_into().unwrap();
            map.insert(key, zero, 0).unwrap();
        }
        Some(rig)
    }

    /// The object itself.
    pub fn object(&mut self) -> &mut Ebpf {
        &mut self.object
    }

    /// `SERVICE_ADDRS`
    pub fn addresses(&mut self) -> HashMap<&mut MapData, ServiceKey, ServiceEntry> {
        self.object.map_mut("SERVICE_ADDRS").unwrap().try_into().unwrap()
    }

    /// Sets an entry's state.
    pub fn entry(&mut self, key: ServiceKey, state: u16) {
        let mut filter: Array<&mut MapData, FilterWord> =
            self.object.map_mut("FILTER").unwrap().try_into().unwrap();
        let bit = filter_bit(&key.address);
        let FilterWord { bits } = filter.get(&(bit / 64), 0).unwrap();
        filter.set(bit / 64, FilterWord { bits: bits | 1 << (bit % 64) }, 0).unwrap();
        let entry = ServiceEntry::new(SLOT, state, OURS);
        self.addresses().insert(key, entry, 0).unwrap();
    }

    /// Sets the lease.
    pub fn lease(&mut self, until: Time) {
        let mut map: Array<&mut MapData, Lease> =
            self.object.map_mut("LEASES").unwrap().try_into().unwrap();
        map.set(SLOT, Lease { until: until.as_nanos() }, 0).unwrap();
    }

    /// What becomes of a frame, and its bytes afterwards.
    pub fn run(&mut self, frame: &[u8]) -> (u32, Vec<u8>) {
        let program: &mut Xdp = self.object.program_mut("rais_xdp").unwrap().try_into().unwrap();
        let mut out = vec![0; frame.len() + 64];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ..TestRunOptions::new()
        };
        let result = program.test_run(options).unwrap();
        out.truncate(usize::try_from(result.data_size_out).unwrap());
        (result.return_value, out)
    }

    /// As `run`, for a frame that must come out as it went in.
    pub fn fate(&mut self, frame: &[u8]) -> u32 {
        let (verdict, out) = self.run(frame);
        assert_eq!(out, frame, "the frame was changed");
        verdict
    }

    /// `COUNTERS`, of all CPUs.
    pub fn counters(&mut self) -> Counters {
        let map: PerCpuArray<&MapData, Counters> =
            self.object.map("COUNTERS").unwrap().try_into().unwrap();
        map.get(&0, 0).unwrap().iter().fold(Counters::default(), Counters::plus)
    }

    /// Packets, bytes and connections.
    pub fn traffic(&mut self, key: ServiceKey) -> (u64, u64, u64) {
        let map: PerCpuHashMap<&MapData, ServiceKey, Traffic> =
            self.object.map("TRAFFIC").unwrap().try_into().unwrap();
        map.get(&key, 0).unwrap().iter().fold((0, 0, 0), |sum, cpu| {
            (sum.0 + cpu.packets, sum.1 + cpu.bytes, sum.2 + cpu.connections)
        })
    }

    /// Takes what is in `EVENTS`.
    pub fn events(&mut self) -> Vec<Vec<u8>> {
        let mut ring = RingBuf::try_from(self.object.map_mut("EVENTS").unwrap()).unwrap();
        std::iter::from_fn(|| ring.next().map(|record| record.to_vec())).collect()
    }

    /// Each frame passes, and is counted for the IPv6 address, or dropped where that is fenced.
    pub fn assert_traffic(&mut self, cases: &[(&str, Vec<u8>)]) {
        for (name, frame) in cases {
            self.entry(v6_key(), STATE_OPEN);
            let before = self.traffic(v6_key());
            assert_eq!(self.fate(frame), PASS, "{name}");
            let bytes = u64::try_from(frame.len()).unwrap();
            let expected = (before.0 + 1, before.1 + bytes, before.2);
            assert_eq!(self.traffic(v6_key()), expected, "{name}");
            self.entry(v6_key(), STATE_FENCED);
            let fenced = self.counters().fenced;
            assert_eq!(self.fate(frame), DROP, "{name}, fenced");
            assert_eq!(self.counters().fenced, fenced + 1, "{name}");
        }
    }

    /// Each frame passes and is counted for `key`, with all its bytes and so many connections.
    pub fn assert_counted(&mut self, key: ServiceKey, cases: &[(&str, Vec<u8>, u64)]) {
        for (name, frame, connections) in cases {
            let before = self.traffic(key);
            assert_eq!(self.fate(frame), PASS, "{name}");
            let bytes = u64::try_from(frame.len()).unwrap();
            let expected = (before.0 + 1, before.1 + bytes, before.2 + connections);
            assert_eq!(self.traffic(key), expected, "{name}");
        }
        assert_eq!(self.counters(), Counters::default());
    }
}

/// The service address here.
#[must_use]
pub fn v4_key() -> ServiceKey {
    ServiceKey { address: mapped(SERVICE), ifindex: LOOPBACK }
}

/// The IPv6 service address here.
#[must_use]
pub fn v6_key() -> ServiceKey {
    ServiceKey { address: SERVICE6, ifindex: LOOPBACK }
}
