//! Load object: how busy the CPUs are.

use std::collections::BTreeMap;

use rais_common::time::Time;

use super::LoadObject;
use super::proc_file::{self, ReadText};

/// Where the kernel counts what its CPUs do (proc(5)).
const FILE: &str = "/proc/stat";

/// Busy time of all CPUs in thousandths of the time since the last sample. It is 0 at the first
/// sample.
pub struct Cpu {
    read: ReadText,
    capacity: u32,
    before: BTreeMap<u32, Times>,
    /// What was said last: so it is again where no time was counted since.
    busy: u32,
}

impl Cpu {
    /// Measures this machine. `capacity` is what counts as full, in thousandths.
    #[must_use]
    pub fn new(capacity: u32) -> Self {
        Self::reading(proc_file::reader(FILE), capacity)
    }

    fn reading(read: ReadText, capacity: u32) -> Self {
        Self { read, capacity, before: BTreeMap::new(), busy: 0 }
    }
}

impl LoadObject for Cpu {
    fn sample(&mut self, _now: Time) -> Result<(u32, u32), String> {
        let text = (self.read)()?;
        let now = parse(&text).ok_or_else(|| format!("{FILE}: it lists no CPU as expected"))?;
        self.busy = share(&self.before, &now).unwrap_or(self.busy);
        self.before = now;
        Ok((self.busy, self.capacity))
    }
}

/// What one CPU did since the machine started, in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Times {
    busy: u64,
    idle: u64,
}

/// The CPUs that are online, by number; none where a line about one makes no sense, or there is
/// none at all.
fn parse(text: &str) -> Option<BTreeMap<u32, Times>> {
    let mut cpus = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        // The first line, `cpu`, is the sum of all.
        let number = words.next().and_then(|word| word.strip_prefix("cpu")).unwrap_or_default();
        if !number.is_empty() {
            let times = times(words.map(str::parse))?;
            cpus.insert(number.parse().ok()?, times);
        }
    }
    (!cpus.is_empty()).then_some(cpus)
}

/// From `user nice system idle iowait irq softirq steal guest guest_nice`.
///
/// While a CPU waits for a disk it is free for others: idle. What a hypervisor stole is busy: this
/// machine had work for that time and did not get it, so there is no room for more. What guests
/// used is in `user` and `nice` already, and is not read.
fn times(fields: impl Iterator<Item = Result<u64, std::num::ParseIntError>>) -> Option<Times> {
    let fields: Vec<u64> = fields.take(8).collect::<Result<_, _>>().ok()?;
    let [user, nice, system, idle, iowait, irq, softirq, steal] = fields.try_into().ok()?;
    let sum = |fields: &[u64]| fields.iter().fold(0, |sum: u64, &field| sum.saturating_add(field));
    Some(Times {
        busy: sum(&[user, nice, system, irq, softirq, steal]),
        idle: sum(&[idle, iowait]),
    })
}

/// Busy time between two readings in thousandths of all time; none where no time was counted. A
/// CPU counts that was online at both. A counter that went back, as `idle` and `iowait` may
/// (proc(5)), counts for nothing.
fn share(before: &BTreeMap<u32, Times>, now: &BTreeMap<u32, Times>) -> Option<u32> {
    let mut busy: u128 = 0;
    let mut all: u128 = 0;
    for (number, now) in now {
        let Some(before) = before.get(number) else { continue };
        let worked = u128::from(now.busy.saturating_sub(before.busy));
        busy += worked;
        all += worked + u128::from(now.idle.saturating_sub(before.idle));
    }
    u32::try_from((busy * 1_000).checked_div(all)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After the number of a CPU: `user nice system idle iowait irq softirq steal guest guest_nice`.
    const START: &str = "cpu  9 9 9 9 9 9 9 9 9 9\n\
                         cpu0 100 10 50 1000 20 5 5 2 90 9\n\
                         cpu1 200 20 60 2000 30 6 6 3 0 0\n\
                         intr 8885 0 9\nctxt 1990473\n";

    /// The thousandths between the start and these CPUs.
    fn since_start(cpus: &str) -> Option<u32> {
        share(&parse(START).unwrap(), &parse(cpus).unwrap())
    }

    #[test]
    fn busy_is_what_is_neither_idle_nor_waiting_for_a_disk() {
        let cases = [
            ("nothing", "cpu0 100 10 50 1100 20 5 5 2 90 9", Some(0)),
            ("waiting for a disk", "cpu0 100 10 50 1000 120 5 5 2 90 9", Some(0)),
            ("user", "cpu0 125 10 50 1075 20 5 5 2 90 9", Some(250)),
            ("nice", "cpu0 100 35 50 1075 20 5 5 2 90 9", Some(250)),
            ("system", "cpu0 100 10 75 1075 20 5 5 2 90 9", Some(250)),
            ("interrupts", "cpu0 100 10 50 1075 20 20 15 2 90 9", Some(250)),
            ("stolen", "cpu0 100 10 50 1000 20 5 5 102 90 9", Some(1_000)),
            ("guests are in user and nice", "cpu0 140 20 50 1050 20 5 5 2 130 19", Some(500)),
            ("both", "cpu0 200 10 50 1000 20 5 5 2 90 9\ncpu1 200 20 60 2100 30 6 6 3", Some(500)),
            ("no time", START, None),
        ];
        for (what, cpus, expected) in cases {
            assert_eq!(since_start(cpus), expected, "{what}");
        }
    }

    #[test]
    fn counters_that_go_back_and_cpus_that_come_and_go() {
        let cases = [
            ("iowait back", "cpu0 150 10 50 1055 15 5 5 2 90 9", Some(500)),
            ("idle back", "cpu0 150 10 50 900 20 5 5 2 90 9", Some(1_000)),
            ("busy back", "cpu0 90 10 50 1100 20 5 5 2 90 9", Some(0)),
            ("all back", "cpu0 0 0 0 0 0 0 0 0 0 0", None),
            ("one gone", "cpu1 300 20 60 2300 30 6 6 3 0 0", Some(250)),
            ("one new", "cpu0 110 10 50 1090 20 5 5 2 90 9\ncpu7 9999 0 0 0 0 0 0 0", Some(100)),
            ("all new", "cpu7 9999 0 0 0 0 0 0 0", None),
        ];
        for (what, cpus, expected) in cases {
            assert_eq!(since_start(cpus), expected, "{what}");
        }
        let most = format!("cpu0 {0} {0} {0} {0} {0} {0} {0} {0}", u64::MAX);
        let none = parse("cpu0 0 0 0 0 0 0 0 0").unwrap();
        assert_eq!(share(&none, &parse(&most).unwrap()), Some(500), "no overflow");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in [
            "",
            "cpu  1 2 3 4 5 6 7 8 9 10\n",
            "cpu0 1 2 3 4 5 6 7\n",
            "cpu0 1 2 3 4 x 6 7 8\n",
            "cpu0 1 2 3 -4 5 6 7 8\n",
            "cpux 1 2 3 4 5 6 7 8\n",
            "cpu0 1 2 3 4 5 6 7 99999999999999999999\n",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn samples_follow_each_other() {
        let texts = [
            Err("/proc/stat: gone"),
            Ok("cpu0 90 0 0 210 0 0 0 0"),
            Ok("cpu0 120 0 0 280 0 0 0 0"),
            Ok("cpu0 120 0 0 280 0 0 0 0"),
            Ok("cpu0 140 0 0 280 0 0 0 0"),
        ];
        let mut texts = texts.into_iter();
        let read = move || texts.next().unwrap().map(str::to_owned).map_err(str::to_owned);
        let mut cpu = Cpu::reading(Box::new(read), 800);
        let mut sample = || cpu.sample(Time::ZERO);
        assert_eq!(sample(), Err("/proc/stat: gone".to_owned()));
        assert_eq!(sample(), Ok((0, 800)));
        assert_eq!(sample(), Ok((300, 800)));
        assert_eq!(sample(), Ok((300, 800)), "no tick has passed");
        assert_eq!(sample(), Ok((1_000, 800)));
    }

    #[test]
    fn this_machine_has_cpus() {
        let mut cpu = Cpu::new(1_000);
        assert_eq!(cpu.sample(Time::ZERO), Ok((0, 1_000)));
        assert!(cpu.sample(Time::ZERO).unwrap().0 <= 1_000);
    }
}
