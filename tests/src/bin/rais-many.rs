//! Measures how long thousands of addresses take to be answered for again after their holder was
//! cut off, and whether heartbeats suffer.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use rais::clock;
use rais::events::Event;
use rais_tests::many::{Many, Mode, beats, idle};
use rais_tests::netns::Host;
use rais_tests::trial::Trial;
use rais_tests::wait;

/// Cuts off the holder of thousands of addresses; two hosts, heartbeat 10 ms, timeout 35 ms.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many addresses.
    #[arg(long, default_value_t = 10_000)]
    count: usize,
    /// How often each.
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Only this mode.
    #[arg(long)]
    mode: Option<Mode>,
    /// Only this family.
    #[arg(long)]
    family: Option<Family>,
    /// Milliseconds.
    #[arg(long, default_value_t = 10)]
    heartbeat: u64,
    /// Milliseconds; default 3.5 heartbeats.
    #[arg(long)]
    timeout: Option<u64>,
    /// Seconds between the start and the cut: announcements are repeated for 13.
    #[arg(long, default_value_t = 0)]
    settle: u64,
    /// What happens to the holder.
    #[arg(long, default_value = "cut")]
    fault: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Fault {
    /// Its links go down. It takes its addresses away meanwhile, in the same kernel.
    Cut,
    /// SIGSTOP: it does nothing, as a machine without power does.
    Freeze,
}

/// The events of so many addresses are asked for.
const REMEMBERED: usize = 20_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Family {
    V4,
    V6,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    rais_tests::netns::clean_up_on_signal()?;
    println!(
        "{:>10} {:>6} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>30}",
        "mode",
        "family",
        "ip -batch",
        "idle CPU",
        "first",
        "all",
        "opened",
        "announced",
        "together",
        "late 5/10 ms, missed, lapsed"
    );
    for v6 in [false, true] {
        for &mode in Mode::value_variants() {
            let family = if v6 { Family::V6 } else { Family::V4 };
            let wanted = arguments.mode.is_none_or(|m| m == mode)
                && arguments.family.is_none_or(|f| f == family);
            // The kernel takes a quarter of a minute and more for 10,000.
            let runs = if v6 && mode == Mode::Interface { 1 } else { arguments.runs };
            for _ in 0..if wanted { runs } else { 0 } {
                let heartbeat = Duration::from_millis(arguments.heartbeat);
                let timeout = arguments.timeout.map_or(heartbeat * 7 / 2, Duration::from_millis);
                let many = Many { count: arguments.count, v6, mode, heartbeat, timeout };
                measure(&many, &arguments)?;
            }
        }
    }
    Ok(())
}

fn measure(many: &Many, arguments: &Arguments) -> Result<()> {
    let mut trial = Trial::new()?;
    let batch = if many.mode == Mode::Interface { Some(batch(many)?) } else { None };
    many.start(&mut trial)?;
    wait::pause(Duration::from_secs(arguments.settle));
    let idle = [idle(trial.host(1))?, idle(trial.host(2))?];
    let before = beats(trial.get(2))?;
    let seen = many.watch(&mut trial, |trial| match arguments.fault {
        Fault::Cut => trial.bed.cut(trial.get(1)),
        Fault::Freeze => trial.host(1).freeze_agent(),
    });
    if seen.is_err() {
        explain(&trial);
    }
    let seen = seen?;
    let after = beats(trial.get(2))?;
    // Not of more addresses than there are events in memory.
    let opened = if many.count <= REMEMBERED {
        format!("{:.1} ms", opened(trial.get(2))?)
    } else {
        "-".to_owned()
    };
    let ms = |span: Duration| format!("{:.1} ms", span.as_secs_f64() * 1e3);
    println!(
        "{:>10} {:>6} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>30}",
        format!("{:?}", many.mode).to_lowercase(),
        if many.v6 { "v6" } else { "v4" },
        batch.map_or(String::new(), ms),
        idle.map(|part| format!("{:.1}", part * 1e2)).join("/") + " %",
        ms(seen.first),
        ms(seen.all),
        opened,
        seen.announced.map_or("not all".to_owned(), ms),
        seen.both,
        format!(
            "{}/{} of {}, {}, {}",
            after.late - before.late,
            after.very_late - before.very_late,
            after.sent - before.sent,
            after.missed - before.missed,
            after.lapsed - before.lapsed,
        ),
    );
    if seen.both > 0 {
        explain(&trial);
    }
    Ok(())
}

/// What happened on both hosts, apart from what happened to each address.
fn explain(trial: &Trial) {
    for number in 1..=2 {
        let host = trial.get(number);
        // One that was stopped says nothing.
        let events = host.events().unwrap_or_default();
        for event in events.into_iter().filter(|event| event.address.is_none()) {
            let Event { time, kind, to, detail, .. } = event;
            println!("{} {time} {kind} {to:?} {}", host.name(), detail.unwrap_or_default());
        }
    }
}

/// Milliseconds from the last message of the old holder until the new one had opened the last
/// address, by its events.
fn opened(host: &Host) -> Result<f64> {
    let mut took: BTreeMap<IpAddr, f64> = BTreeMap::new();
    for event in host.events()? {
        let of_fall = event.reason.as_deref() == Some("host-down");
        let ours = ["acquire-ordered", "acquired"].contains(&event.kind.as_str());
        if let (true, true, Some(address), Some(ms)) = (of_fall, ours, event.address, event.took_ms)
        {
            *took.entry(address).or_default() += ms;
        }
    }
    Ok(took.into_values().fold(0.0, f64::max))
}

/// How long `ip -batch` takes to add the addresses to the interface of a host.
fn batch(many: &Many) -> Result<Duration> {
    let mut trial = Trial::new()?;
    let host = trial.add(3)?;
    let lines = many.addresses().into_iter().fold(String::new(), |mut lines, address| {
        let host = if address.is_ipv4() { "/32" } else { "/128" };
        let nodad = if address.is_ipv4() { "" } else { " nodad" };
        writeln!(lines, "address add {address}{host} dev eth0{nodad}").ok();
        lines
    });
    let file = host.run_dir().join("batch");
    std::fs::write(&file, lines)?;
    let begun = clock::now();
    host.run("ip", &["-batch", &file.display().to_string()])?;
    Ok(clock::now().since(begun))
}
