//! `[[group.load]]`

use std::time::Duration;

use super::checked::{DataPlaneKind, Load, LoadScript, PressureResource, TrafficUnit};
use super::facts::Facts;
use super::objects::{MAX_OBJECTS, MILLISECOND, command};
use super::reader::{At, Section};

/// Taken for the capacity where the interface does not tell its speed: 1 Gbit/s in bytes.
const FALLBACK_CAPACITY: u32 = 125_000_000;

/// The capacity of what is measured in thousandths: all of it.
const WHOLE: u32 = 1_000;

/// Time between two runs of a script.
const SCRIPT_INTERVAL: Duration = Duration::from_secs(5);

#[derive(Clone, Copy)]
enum Kind {
    Traffic,
    Cpu,
    Pressure,
    Script,
}

/// The load objects of a group, whose service interface is called `interface`.
pub(super) fn read(
    group: &Section<'_>,
    interface: Option<&str>,
    data_plane: DataPlaneKind,
    facts: &dyn Facts,
) -> Vec<Load> {
    let sections = group.tables("load", "[[group.load]]");
    if let Some(extra) = sections.get(MAX_OBJECTS) {
        extra.mistake(format!("more than {MAX_OBJECTS} load objects in one group"));
    }
    let sections = sections.into_iter().take(MAX_OBJECTS);
    sections.filter_map(|section| load(section, interface, data_plane, facts)).collect()
}

fn load(
    section: Section<'_>,
    interface: Option<&str>,
    data_plane: DataPlaneKind,
    facts: &dyn Facts,
) -> Option<Load> {
    let kinds = [
        ("traffic", Kind::Traffic),
        ("cpu", Kind::Cpu),
        ("pressure", Kind::Pressure),
        ("script", Kind::Script),
    ];
    let kind = section.choice("kind", &kinds);
    let expected = "\"traffic\", \"cpu\", \"pressure\" or \"script\"";
    let kind = section.required("kind", kind, expected)?;
    if let (At { value: Kind::Traffic, offset }, DataPlaneKind::Kernel) = (&kind, data_plane) {
        section.document().mistake(
            *offset,
            "`kind = \"traffic\"` needs `data_plane = \"xdp\"` in [agent]: nobody else counts the \
             traffic of service addresses; expected \"cpu\", \"pressure\" or \"script\"",
        );
    }
    let capacity = section.number("capacity", 1);
    let capacity = capacity.map(|at| at.value);
    let whole = capacity.unwrap_or(WHOLE);
    let load = match kind.value {
        Kind::Traffic => traffic(&section, capacity, interface, facts),
        Kind::Cpu => Some(Load::Cpu { capacity: whole }),
        Kind::Pressure => {
            pressure(&section, facts).map(|resource| Load::Pressure { resource, capacity: whole })
        }
        Kind::Script => script(&section, capacity, facts),
    };
    section.finish();
    load
}

fn traffic(
    section: &Section<'_>,
    capacity: Option<u32>,
    interface: Option<&str>,
    facts: &dyn Facts,
) -> Option<Load> {
    let units = [
        ("bytes", TrafficUnit::Bytes),
        ("packets", TrafficUnit::Packets),
        ("connections", TrafficUnit::Connections),
    ];
    let unit = section.choice("unit", &units);
    let unit = section.required("unit", unit, "\"bytes\", \"packets\" or \"connections\"")?.value;
    let capacity = match unit {
        TrafficUnit::Bytes => Some(capacity.unwrap_or_else(|| speed(interface, facts))),
        TrafficUnit::Packets | TrafficUnit::Connections => {
            section.required("capacity", capacity, "what counts as full, a second, for this unit")
        }
    };
    Some(Load::Traffic { unit, capacity: capacity? })
}

/// The interface's speed in bytes a second. Beyond 4 GB/s it counts as that.
fn speed(interface: Option<&str>, facts: &dyn Facts) -> u32 {
    interface
        .and_then(|name| facts.speed(name))
        .map_or(FALLBACK_CAPACITY, |speed| u32::try_from(speed).unwrap_or(u32::MAX))
}

/// A resource for which the kernel measures the pressure.
fn pressure(section: &Section<'_>, facts: &dyn Facts) -> Option<PressureResource> {
    let resources = [
        ("cpu", PressureResource::Cpu),
        ("memory", PressureResource::Memory),
        ("io", PressureResource::Io),
    ];
    let resource = section.choice("resource", &resources);
    let At { value, offset } =
        section.required("resource", resource, "\"cpu\", \"memory\" or \"io\"")?;
    if let Err(problem) = facts.pressure(value) {
        section.document().mistake(
            offset,
            format!(
                "`resource`: this kernel does not measure the pressure on it: {}: {problem}; boot \
                 one that is built with CONFIG_PSI, with psi=1, or take another load object",
                value.file()
            ),
        );
    }
    Some(value)
}

fn script(section: &Section<'_>, capacity: Option<u32>, facts: &dyn Facts) -> Option<Load> {
    let command = command(section, facts);
    let interval = section.duration("interval", MILLISECOND);
    let interval = interval.map_or(SCRIPT_INTERVAL, |at| at.value);
    let timeout = section.duration("timeout", MILLISECOND).map_or(interval, |at| at.value);
    Some(Load::Script(LoadScript { command: command?, interval, timeout, capacity }))
}
