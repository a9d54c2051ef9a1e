//! What the XDP program costs a packet, measured by the kernel's test runs against a program that
//! lets everything through, in the same run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a measurement fails by panicking"
)]

use std::path::Path;

use aya::maps::{Array, MapData, ProgramArray};
use aya::programs::{TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use rais_common::maps::{MAX_ADDRESSES, ServiceKey, mapped};

use super::frames::{Arp, REQUEST, SERVICE6, ipv6, solicitation, tcp, tcp4};
use super::{LOOPBACK, PASS, Rig, SEND_BACK};

/// Runs of a program in one measurement.
const REPEAT: u32 = 200_000;
/// Bytes that the bench program can put back.
const KEPT: usize = 88;

/// What is measured: a kind of packet.
#[derive(Clone, Debug)]
pub struct Case {
    /// In words.
    pub name: &'static str,
    /// Nanoseconds it may cost; none: for information.
    pub limit: Option<f64>,
    /// One or several, whose mean counts.
    pub frames: Vec<Vec<u8>>,
    /// They are answered.
    pub answered: bool,
}

/// What came out: nanoseconds beyond a program that lets everything through.
#[derive(Clone, Debug)]
pub struct Cost {
    /// What was measured.
    pub case: Case,
    /// The least of all rounds.
    pub best: f64,
    /// Their median.
    pub median: f64,
}

/// The programs that are compared.
#[derive(Debug)]
pub struct Bench {
    rig: Rig,
    base: Ebpf,
}

impl Bench {
    /// Loads the program with as many addresses as it can have, and the one at `object` to compare
    /// it with. None: cannot run here.
    #[must_use]
    pub fn new(object: &Path) -> Option<Self> {
        let mut rig = Rig::new()?;
        rig.fill();
        let mut base = EbpfLoader::new().load_file(object).unwrap();
        for name in ["rais_pass", "rais_again"] {
            let program: &mut Xdp = base.program_mut(name).unwrap().try_into().unwrap();
            program.load().unwrap();
        }
        Some(Self { rig, base })
    }

    /// Measures each case in so many rounds.
    pub fn measure(&mut self, cases: Vec<Case>, rounds: usize) -> Vec<Cost> {
        cases
            .into_iter()
            .map(|case| {
                let mut all: Vec<f64> = (0..rounds).map(|_| self.round(&case)).collect();
                all.sort_by(f64::total_cmp);
                Cost { case, best: all[0], median: all[rounds / 2] }
            })
            .collect()
    }

    /// The mean over the frames of one case.
    fn round(&mut self, case: &Case) -> f64 {
        let costs: Vec<f64> = case
            .frames
            .iter()
            .map(|frame| if case.answered { self.answering(frame) } else { self.passing(frame) })
            .collect();
        let count = u32::try_from(costs.len()).unwrap();
        costs.iter().sum::<f64>() / f64::from(count)
    }

    /// A frame that is left as it is.
    fn passing(&mut self, frame: &[u8]) -> f64 {
        let base: &Xdp = self.base.program("rais_pass").unwrap().try_into().unwrap();
        let nothing = run(base, frame, PASS);
        run(self.rig.program(), frame, PASS) - nothing
    }

    /// A frame that is turned into its answer, and put back before each run.
    fn answering(&mut self, frame: &[u8]) -> f64 {
        let mut kept = [0; KEPT];
        kept[..frame.len().min(KEPT)].copy_from_slice(&frame[..frame.len().min(KEPT)]);
        let mut map: Array<&mut MapData, [u8; KEPT]> =
            self.base.map_mut("FRAME").unwrap().try_into().unwrap();
        map.set(0, kept, 0).unwrap();
        let pass: &Xdp = self.base.program("rais_pass").unwrap().try_into().unwrap();
        let pass = pass.fd().unwrap().try_clone().unwrap();
        let nothing = self.through(&pass, frame, PASS);
        let measured = self.rig.program().fd().unwrap().try_clone().unwrap();
        self.through(&measured, frame, SEND_BACK) - nothing
    }

    /// The time of a program behind the one that puts frames back.
    fn through(&mut self, measured: &aya::programs::ProgramFd, frame: &[u8], verdict: u32) -> f64 {
        let mut map: ProgramArray<&mut MapData> =
            self.base.map_mut("MEASURED").unwrap().try_into().unwrap();
        map.set(0, measured, 0).unwrap();
        let again: &Xdp = self.base.program("rais_again").unwrap().try_into().unwrap();
        run(again, frame, verdict)
    }
}

/// Nanoseconds a run, best of seven.
fn run(program: &Xdp, frame: &[u8], verdict: u32) -> f64 {
    (0..7)
        .map(|_| {
            let options =
                TestRunOptions { data_in: Some(frame), repeat: REPEAT, ..TestRunOptions::new() };
            let result = program.test_run(options).unwrap();
            assert_eq!(result.return_value, verdict);
            result.duration.as_secs_f64() * 1e9
        })
        .fold(f64::INFINITY, f64::min)
}

impl Rig {
    /// The program.
    fn program(&self) -> &Xdp {
        self.object.program("rais_xdp").unwrap().try_into().unwrap()
    }

    /// Fills the map: two thirds IPv4, one third IPv6.
    fn fill(&mut self) {
        let room = MAX_ADDRESSES - 2;
        for number in 0..room {
            let address = if number % 3 == 0 { other6(number) } else { mapped(other4(number)) };
            let key = ServiceKey { address, ifindex: LOOPBACK };
            self.entry(key, rais_common::maps::STATE_OPEN);
        }
    }
}

/// Consecutive addresses, below 10.76.0.0.
fn other4(number: u32) -> [u8; 4] {
    (0x0a40_0000 + number).to_be_bytes()
}

fn other6(number: u32) -> [u8; 16] {
    (0xfd00_0000_0000_0000_0000_0000_0000_0000 + (u128::from(number) << 1) + 0x1_0000_0000)
        .to_be_bytes()
}

/// Addresses that are not in the map: neighbours of those that are, and others.
fn strangers() -> impl Iterator<Item = u32> {
    (0..8).map(|i| MAX_ADDRESSES + i * 7919)
}

/// All that is measured.
#[must_use]
pub fn cases() -> Vec<Case> {
    let service4 = tcp4(&[], 0, 0x10);
    let service6 = ipv6(SERVICE6, 6, &tcp(0x10));
    let to4 = |number| {
        let mut frame = service4.clone();
        frame[30..34].copy_from_slice(&other4(number));
        frame
    };
    let ask = |number| Arp { target: ([0; 6], other4(number)), ..REQUEST }.bytes();
    let case =
        |name, limit: f64, frames| Case { name, limit: Some(limit), frames, answered: false };
    let mut plain = service4.clone();
    plain[12..14].copy_from_slice(&[0x88, 0xb5]);
    vec![
        case("other traffic, neither IP nor ARP", 5.0, vec![plain]),
        case("other traffic, IPv4", 5.0, strangers().map(to4).collect()),
        case(
            "other traffic, IPv6",
            5.0,
            strangers().map(|n| ipv6(other6(n), 6, &tcp(0x10))).collect(),
        ),
        Case {
            limit: None,
            ..case("ARP requests for others", 5.0, strangers().map(ask).collect())
        },
        case("service traffic, IPv4, counted", 30.0, vec![service4]),
        case("service traffic, IPv6, counted", 40.0, vec![service6]),
        Case { answered: true, ..case("ARP answered", 60.0, vec![REQUEST.bytes()]) },
        Case {
            answered: true,
            ..case("solicitation answered", 120.0, vec![solicitation().bytes()])
        },
    ]
}
