//! `[[group]]`

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::checked::{
    AddressMode, DataPlaneKind, Group, Interface, Load, Scripts, Seal, Test, Traps,
};
use super::duration::{self, show};
use super::facts::Facts;
use super::keys;
use super::loads;
use super::name_service;
use super::objects;
use super::range;
use super::reader::{At, Document, Section};
use super::traps;
use crate::group::{Balance, Failback, HostId, NO_HAND_OVER, Placement, Role, Settings};

/// Most control interfaces of one group.
const MAX_CONTROL_INTERFACES: usize = 8;

/// Longest group name, in bytes.
const MAX_NAME: usize = 64;

/// What an action may take beyond its script's deadline: for the address itself.
const ACTION_SLACK: Duration = Duration::from_secs(5);

/// What a `[[group]]` says, before the host's id is known. What is None was reported.
pub(super) struct Raw<'a> {
    pub(super) name: Option<At<&'a str>>,
    pub(super) address: Option<At<SocketAddr>>,
    pub(super) control_interfaces: Vec<At<Interface>>,
    pub(super) service_interface: Option<Interface>,
    address_mode: AddressMode,
    seal: Option<Seal>,
    preferred: Vec<At<IpAddr>>,
    floating: Vec<At<IpAddr>>,
    timing: Timing,
    policy: Policy,
    tests: Vec<Test>,
    loads: Vec<Load>,
    scripts: Scripts,
    dns: Option<name_service::Raw>,
    traps: Option<Traps>,
}

struct Timing {
    heartbeat: Duration,
    timeout: Duration,
    orphan_timeout: Duration,
}

struct Policy {
    role: Role,
    quorum: u32,
    failback: Failback,
    placement: Placement,
    balance: Option<Balance>,
    spread: bool,
}

impl Raw<'_> {
    /// All service addresses, preferred ones first.
    pub(super) fn service_addresses(&self) -> impl Iterator<Item = At<IpAddr>> {
        self.preferred.iter().chain(&self.floating).copied()
    }

    /// Where the name service listens.
    pub(super) fn listens_on(&self) -> impl Iterator<Item = At<SocketAddr>> {
        self.dns.iter().flat_map(|dns| &dns.listen).copied()
    }

    /// The first control address: the host's id unless the file names one.
    pub(super) fn control_address(&self) -> Option<HostId> {
        control_address(&self.control_interfaces.first()?.value).map(HostId)
    }

    /// Service addresses must not be those by which the hosts hear each other. (Other addresses
    /// of a control interface may be leftovers of an agent that was killed.)
    pub(super) fn check_not_host(&self, host: Option<HostId>, document: &Document<'_>) {
        let control = self.control_interfaces.iter().filter_map(|at| control_address(&at.value));
        let own: BTreeSet<_> = control.chain(host.map(|host| host.0)).collect();
        for At { value, offset } in self.service_addresses() {
            if own.contains(&value) {
                let message =
                    format!("{value} is this host's control address; it cannot move between hosts");
                document.mistake(offset, message);
            }
        }
    }

    /// The group, where nothing is missing.
    pub(super) fn build(self, host: HostId, data_plane: DataPlaneKind) -> Option<Group> {
        let name = self.name?.value.to_owned();
        let control_interfaces: Vec<_> =
            self.control_interfaces.into_iter().map(|at| at.value).collect();
        let service_interface = self.service_interface?;
        let Timing { heartbeat, timeout, orphan_timeout } = self.timing;
        let settings = Settings {
            seed: seed(&name, host),
            name,
            host,
            control_addresses: control_interfaces.iter().filter_map(control_address).collect(),
            mac: match data_plane {
                DataPlaneKind::Xdp => service_interface.mac,
                DataPlaneKind::Kernel => NO_HAND_OVER,
            },
            role: self.policy.role,
            heartbeat,
            timeout,
            lease: timeout.saturating_sub(heartbeat),
            preferred: self.preferred.iter().map(|at| at.value).collect(),
            floating: self.floating.iter().map(|at| at.value).collect(),
            quorum: self.policy.quorum,
            failback: self.policy.failback,
            placement: self.policy.placement,
            balance: self.policy.balance,
            spread: self.policy.spread,
            orphan_timeout,
            action_limit: self.scripts.timeout.saturating_add(ACTION_SLACK),
            acquire_script: self.scripts.acquire.is_some(),
            release_script: self.scripts.release.is_some(),
        };
        Some(Group {
            settings,
            address: self.address?.value,
            control_interfaces,
            service_interface,
            address_mode: self.address_mode,
            seal: self.seal?,
            tests: self.tests,
            loads: self.loads,
            scripts: self.scripts,
            dns: match self.dns {
                Some(dns) => Some(dns.service?),
                None => None,
            },
            traps: self.traps,
        })
    }
}

/// The address by which an interface's host is known: its first IPv4 address, else its first.
/// Interfaces list them in that order.
fn control_address(interface: &Interface) -> Option<IpAddr> {
    interface.addresses.first().copied()
}

/// Differs between hosts and between groups; the same at every start (FNV-1a).
fn seed(name: &str, host: HostId) -> u64 {
    let text = format!("{host} {name}");
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Reads one group.
pub(super) fn read<'a>(
    section: Section<'a>,
    data_plane: DataPlaneKind,
    facts: &dyn Facts,
) -> Raw<'a> {
    let address = group_address(&section);
    let control_interfaces = control_interfaces(&section, address, facts);
    let service_interface = service_interface(&section, facts);
    let service_name = service_interface.as_ref().map(|interface| interface.name.as_str());
    let policy = policy(&section);
    let preferred = range::service_addresses(&section, "preferred");
    let floating = range::service_addresses(&section, "floating");
    if let (Role::Observer, Some(at)) = (policy.role, preferred.first()) {
        section.document().mistake(
            at.offset,
            "an observer serves nothing and can prefer no address; remove `preferred`, or make \
             it a member",
        );
    }
    let addresses: Vec<_> = preferred.iter().chain(&floating).copied().collect();
    let raw = Raw {
        name: name(&section),
        address,
        control_interfaces,
        address_mode: address_mode(&section, data_plane, facts),
        seal: keys::read(&section, facts),
        preferred,
        floating,
        timing: timing(&section),
        policy,
        tests: objects::tests(&section, facts),
        loads: loads::read(&section, service_name, data_plane, facts),
        scripts: objects::scripts(&section, facts),
        dns: name_service::read(&section, service_interface.as_ref(), &addresses, facts),
        traps: traps::read(&section, facts),
        service_interface,
    };
    section.finish();
    raw
}

/// With `prearm` each address is on all hosts, of which one only may answer for it.
fn address_mode(
    section: &Section<'_>,
    data_plane: DataPlaneKind,
    facts: &dyn Facts,
) -> AddressMode {
    let route = section.choice("address_mode", &[("interface", false), ("route", true)]);
    if let (Some(At { value: true, offset }), DataPlaneKind::Kernel) = (route, data_plane) {
        section.document().mistake(
            offset,
            "`address_mode = \"route\"` needs `data_plane = \"xdp\"` in [agent]: without the XDP \
             program nobody would answer for an address that is on no interface; expected \
             \"interface\"",
        );
    }
    let prearm = section.boolean("prearm").filter(|at| at.value);
    if let (Some(at), false) = (prearm, route.is_some_and(|at| at.value)) {
        let message = "`prearm` needs `address_mode = \"route\"` beside it";
        section.document().mistake(at.offset, message);
    } else if let Some(at) = prearm {
        let answering = facts.answering_arp();
        if !answering.is_empty() {
            section.document().mistake(
                at.offset,
                format!(
                    "`prearm` puts every address of the group on this host, and its kernel would \
                     answer ARP for them on {}; set net.ipv4.conf.all.arp_ignore=1",
                    answering.join(", ")
                ),
            );
        }
    }
    match route {
        Some(At { value: true, .. }) => AddressMode::Route { prearm: prearm.is_some() },
        Some(_) | None => AddressMode::Interface,
    }
}

fn name<'a>(section: &Section<'a>) -> Option<At<&'a str>> {
    let expected = "a name in quotes";
    let name = section.required("name", section.string("name", expected), expected)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.value.is_empty() || name.value.len() > MAX_NAME || !name.value.chars().all(plain) {
        section.document().mistake(
            name.offset,
            format!(
                "`name`: expected 1 to {MAX_NAME} letters, digits, `-`, `_` or `.`, found {:?}",
                name.value
            ),
        );
    }
    Some(name)
}

fn group_address(section: &Section<'_>) -> Option<At<SocketAddr>> {
    let expected = "a multicast address and a UDP port in quotes, such as \"239.77.0.1:7077\"";
    let address = section.parsed::<SocketAddr>("address", expected);
    let address = section.required("address", address, expected)?;
    let problem = if !address.value.ip().is_multicast() {
        "is not a multicast address (IPv4 224.0.0.0/4, IPv6 ff00::/8)"
    } else if address.value.port() == 0 {
        "has no usable port; expected 1 to 65535"
    } else {
        return Some(address);
    };
    section.document().mistake(address.offset, format!("`address`: {} {problem}", address.value));
    None
}

fn control_interfaces(
    section: &Section<'_>,
    group: Option<At<SocketAddr>>,
    facts: &dyn Facts,
) -> Vec<At<Interface>> {
    let names = section.list::<String>("control_interfaces", "the name of an interface in quotes");
    if let Some(offset) = section.empty_list("control_interfaces") {
        let message = "`control_interfaces` names no interface; at least one is needed";
        section.document().mistake(offset, message);
    } else if !section.has("control_interfaces") {
        section.missing(
            "`control_interfaces` is missing in [[group]]; expected a list of the interfaces over \
             which hosts hear each other, such as [\"eth0\"]",
        );
    }
    if let Some(extra) = names.get(MAX_CONTROL_INTERFACES) {
        let message = format!("more than {MAX_CONTROL_INTERFACES} control interfaces");
        section.document().mistake(extra.offset, message);
    }
    let mut seen = BTreeMap::new();
    let mut interfaces = Vec::with_capacity(names.len());
    for name in names.iter().take(MAX_CONTROL_INTERFACES) {
        section.document().once(&mut seen, &name.value, name.offset, |_| {
            format!("control interface `{}` is named twice", name.value)
        });
        match control_interface(&name.value, group, facts) {
            Ok(interface) => interfaces.push(name.with(interface)),
            Err(message) => {
                let message = format!("`control_interfaces`: {message}");
                section.document().mistake(name.offset, message);
            }
        }
    }
    interfaces
}

/// The interface `name`, which needs an address of the family that the group's messages have.
fn control_interface(
    name: &str,
    group: Option<At<SocketAddr>>,
    facts: &dyn Facts,
) -> Result<Interface, String> {
    let interface = facts.interface(name)?;
    if let Some(At { value: group, .. }) = group
        && !interface.addresses.iter().any(|address| address.is_ipv4() == group.is_ipv4())
    {
        let family = if group.is_ipv4() { "IPv4" } else { "IPv6" };
        return Err(format!(
            "interface `{name}` has no {family} address to send messages to {} from; give it one",
            group.ip()
        ));
    }
    Ok(interface)
}

fn service_interface(section: &Section<'_>, facts: &dyn Facts) -> Option<Interface> {
    let expected = "the name of the interface that clients are on, in quotes";
    let name = section.string("service_interface", expected);
    let name = section.required("service_interface", name, expected)?;
    let found = facts.interface(name.value);
    let served = found.and_then(|found| facts.serves(&found).map(|()| found));
    served
        .map_err(|message| {
            section.document().mistake(name.offset, format!("`service_interface`: {message}"));
        })
        .ok()
}

fn timing(section: &Section<'_>) -> Timing {
    let heartbeat = section.duration("heartbeat", Duration::from_millis(1));
    // Against a heartbeat that is wrong itself a timeout cannot be judged.
    let judged = heartbeat.is_some() || !section.has("heartbeat");
    let heartbeat = heartbeat.map_or(Duration::from_millis(100), |at| at.value);
    let usual = heartbeat.saturating_mul(7) / 2;
    let timeout = match section.duration("timeout", Duration::from_millis(1)) {
        Some(At { value, offset }) if judged && value < heartbeat.saturating_mul(2) => {
            section.document().mistake(
                offset,
                format!(
                    "`timeout`: {} is less than twice the heartbeat of {}: a single lost message \
                     would be taken for a failed host; expected at least {}, usual are {}",
                    show(value),
                    show(heartbeat),
                    show(heartbeat.saturating_mul(2)),
                    show(usual),
                ),
            );
            usual
        }
        Some(at) => at.value,
        None => usual,
    };
    let orphan_timeout = section
        .duration("orphan_timeout", Duration::from_millis(1))
        .map_or(Duration::from_hours(365 * 24), |at| at.value);
    Timing { heartbeat, timeout, orphan_timeout }
}

fn policy(section: &Section<'_>) -> Policy {
    let roles = [("member", Role::Member), ("observer", Role::Observer)];
    let placements = [("least-utilised", Placement::LeastUtilised), ("random", Placement::Random)];
    Policy {
        role: section.choice("role", &roles).map_or(Role::Member, |at| at.value),
        quorum: section.number("quorum", 1).map_or(1, |at| at.value),
        failback: failback(section).unwrap_or(Failback::Immediate),
        placement: section
            .choice("placement", &placements)
            .map_or(Placement::LeastUtilised, |at| at.value),
        balance: balance(section),
        spread: section.boolean("spread").is_none_or(|at| at.value),
    }
}

fn failback(section: &Section<'_>) -> Option<Failback> {
    let expected = "\"immediate\", \"never\" or a hold-down such as \"5m\", in quotes";
    let word = section.string("failback", expected)?;
    match word.value {
        "immediate" => Some(Failback::Immediate),
        "never" => Some(Failback::Never),
        text => match duration::parse(text) {
            Ok(Duration::ZERO) => Some(Failback::Immediate),
            Ok(span) => Some(Failback::After(span)),
            Err(reason) => {
                let message =
                    format!("`failback`: expected {expected}, found \"{text}\": {reason}");
                section.document().mistake(word.offset, message);
                None
            }
        },
    }
}

/// Both marks or neither.
fn balance(section: &Section<'_>) -> Option<Balance> {
    let high = section.number("high_water", 1);
    let low = section.number("low_water", 0);
    let scale = section.number("scale", 1).map_or(1_000, |at| at.value);
    match (high, low) {
        (Some(high), Some(low)) => {
            if high.value <= low.value {
                section.document().mistake(
                    high.offset,
                    format!("`high_water`: {} is not above `low_water`, {}", high.value, low.value),
                );
            }
            Some(Balance { high: high.value, low: low.value, scale })
        }
        (Some(at), None) if !section.has("low_water") => {
            section.document().mistake(at.offset, "`high_water` needs `low_water` beside it");
            None
        }
        (None, Some(at)) if !section.has("high_water") => {
            section.document().mistake(at.offset, "`low_water` needs `high_water` beside it");
            None
        }
        (Some(_) | None, Some(_) | None) => None,
    }
}
