//! Whether clients can be served on an interface, or it is not alone.
//!
//! What comes in at a member of a bond or a port of a bridge is taken in by that: the XDP program would
//! answer for traffic that goes elsewhere. And a macvlan hears what its lower device hears, which
//! the kernel answers there in its stead, past the XDP program.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "netlink's enumerations are open: what was not asked for is skipped"
)]

use rtnetlink::packet_route::link::{
    BondFailOverMac, InfoBond, InfoData, InfoKind, InfoMacVlan, InfoMacVtap, InfoPortKind,
    LinkAttribute, LinkInfo, LinkMessage, MacVlanMode, MacVtapMode,
};

use super::arp_ignore::answering;
use crate::links;

/// Kinds of interfaces that leave their members all that comes in: a VRF is a routing table, and a
/// mesh takes its own frames only.
const HARMLESS: [&str; 2] = ["vrf", "batadv"];

/// The owner is the same for all bridges of Open vSwitch, and none of them.
const OPEN_VSWITCH: &str = "openvswitch";

/// Why the interface of this index cannot be a service interface, and which can, in words. None: it
/// can, or there is no telling.
pub(super) fn why(name: &str, index: u32) -> Option<String> {
    let links = links::all().ok()?;
    why_among(&links, name, index)
        .or_else(|| heard_below(&links, name, index, &answering(&[])))
        .or_else(|| changes_its_mac(&links, name, index))
}

/// Of a bond that has the hardware address of whichever member is active.
fn changes_its_mac(links: &[LinkMessage], name: &str, index: u32) -> Option<String> {
    let link = links.iter().find(|link| link.header.index == index)?;
    let changes = InfoBond::FailOverMac(BondFailOverMac::Active);
    let found = info(link).any(
        |part| matches!(part, LinkInfo::Data(InfoData::Bond(data)) if data.contains(&changes)),
    );
    found.then(|| {
        format!(
            "`{name}` takes the hardware address of its active member (fail_over_mac active), and \
             clients would go on sending to that of the one before; let the bond keep its own, with \
             fail_over_mac none or follow"
        )
    })
}

/// Of a macvlan, whose lower device is among those on which the kernel answers ARP for any address.
fn heard_below(
    links: &[LinkMessage],
    name: &str,
    index: u32,
    answering: &[String],
) -> Option<String> {
    let link = links.iter().find(|link| link.header.index == index)?;
    let kind = info(link).find_map(|part| match part {
        LinkInfo::Kind(kind @ (InfoKind::MacVlan | InfoKind::MacVtap | InfoKind::IpVlan)) => {
            Some(kind)
        }
        _ => None,
    })?;
    let lower = links.iter().find(|lower| is_above(link, lower.header.index)).and_then(name_of)?;
    answering.iter().any(|name| name == lower).then(|| {
        format!(
            "`{name}` shares the network of `{lower}` ({kind}), where the kernel answers ARP for its \
             addresses as well, lease or no lease; set net.ipv4.conf.{lower}.arp_ignore=1"
        )
    })
}

fn why_among(links: &[LinkMessage], name: &str, index: u32) -> Option<String> {
    let link = links.iter().find(|link| link.header.index == index)?;
    let Some(owner) = owner(link) else {
        let upper = links.iter().find(|upper| takes_all_of(upper, index))?;
        let upper = name_of(upper).unwrap_or("?");
        return Some(format!(
            "`{name}` is the lower device of `{upper}`, which takes in all that comes there (mode \
             passthru); write service_interface = \"{upper}\", or name another interface"
        ));
    };
    let kind = owner_kind(link).unwrap_or_default();
    if HARMLESS.contains(&kind.as_str()) {
        return None;
    }
    let owner = links.iter().find(|link| link.header.index == owner).and_then(name_of);
    let owner = owner.unwrap_or("?");
    let what = match kind.as_str() {
        "bond" | "team" => format!("a member of the {kind} `{owner}`"),
        "" => format!("a part of `{owner}`"),
        _ => format!("a port of the {kind} `{owner}`"),
    };
    let remedy = if kind == OPEN_VSWITCH {
        "name the internal port of its bridge as `service_interface`".to_owned()
    } else {
        format!("write service_interface = \"{owner}\"")
    };
    Some(format!("`{name}` is {what}, which takes in all that comes there; {remedy}"))
}

/// The index of the interface that has this one as a member or port.
fn owner(link: &LinkMessage) -> Option<u32> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Controller(index) => Some(*index).filter(|&index| index > 0),
        _ => None,
    })
}

/// What kind of interface that is, in the kernel's word; not every kind has one.
fn owner_kind(link: &LinkMessage) -> Option<String> {
    info(link).find_map(|part| match part {
        LinkInfo::PortKind(kind) => Some(InfoPortKind::to_string(kind)),
        _ => None,
    })
}

fn name_of(link: &LinkMessage) -> Option<&str> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

/// Whether the interface of index `lower` is its lower device.
fn is_above(link: &LinkMessage, lower: u32) -> bool {
    // In another network namespace the index is another's.
    let here = !link.attributes.iter().any(|part| matches!(part, LinkAttribute::LinkNetNsId(_)));
    here && link.attributes.contains(&LinkAttribute::Link(lower))
}

/// Whether it is a macvlan or macvtap that leaves nothing to the interface of index `lower`.
fn takes_all_of(link: &LinkMessage, lower: u32) -> bool {
    is_above(link, lower)
        && info(link).any(|part| match part {
            LinkInfo::Data(InfoData::MacVlan(data)) => {
                data.contains(&InfoMacVlan::Mode(MacVlanMode::Passthrough))
            }
            LinkInfo::Data(InfoData::MacVtap(data)) => {
                data.contains(&InfoMacVtap::Mode(MacVtapMode::Passthrough))
            }
            _ => false,
        })
}

fn info(link: &LinkMessage) -> impl Iterator<Item = &LinkInfo> {
    link.attributes.iter().flat_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(parts) => parts.as_slice(),
        _ => &[],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str, more: Vec<LinkAttribute>) -> LinkMessage {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.attributes = vec![LinkAttribute::IfName(name.to_owned())];
        link.attributes.extend(more);
        link
    }

    fn owned(kind: Option<InfoPortKind>) -> Option<String> {
        let info = kind.map(LinkInfo::PortKind).into_iter().collect();
        let parts = vec![LinkAttribute::Controller(7), LinkAttribute::LinkInfo(info)];
        why_among(&[link(7, "over0", vec![]), link(3, "eth0", parts)], "eth0", 3)
    }

    // Kinds of owners → why not, and what to write; a VRF and a mesh leave what comes in.
    #[test]
    fn owners_are_named_with_the_remedy() {
        let takes = "which takes in all that comes there";
        let write = "write service_interface = \"over0\"";
        for (kind, what) in [
            (Some(InfoPortKind::Bridge), "a port of the bridge `over0`"),
            (Some(InfoPortKind::Bond), "a member of the bond `over0`"),
            (Some(InfoPortKind::Team), "a member of the team `over0`"),
            (Some(InfoPortKind::Other("hsr".to_owned())), "a port of the hsr `over0`"),
            (None, "a part of `over0`"),
        ] {
            assert_eq!(owned(kind), Some(format!("`eth0` is {what}, {takes}; {write}")));
        }
        let vswitch = owned(Some(InfoPortKind::Other("openvswitch".to_owned()))).unwrap();
        assert!(vswitch.ends_with("; name the internal port of its bridge as `service_interface`"));
        assert_eq!(owned(Some(InfoPortKind::Vrf)), None);
        assert_eq!(owned(Some(InfoPortKind::Other("batadv".to_owned()))), None);
    }

    // A macvlan above, in its modes, here or in another network namespace → only passthru here counts.
    #[test]
    fn a_macvlan_takes_all_in_one_mode() {
        let above = |mode, more: Vec<LinkAttribute>| {
            let data = LinkInfo::Data(InfoData::MacVlan(vec![InfoMacVlan::Mode(mode)]));
            let mut parts = vec![
                LinkAttribute::Link(3),
                LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::MacVlan), data]),
            ];
            parts.extend(more);
            why_among(&[link(3, "eth0", vec![]), link(9, "mac0", parts)], "eth0", 3)
        };
        let why = above(MacVlanMode::Passthrough, vec![]).unwrap();
        assert!(why.starts_with("`eth0` is the lower device of `mac0`, "), "{why}");
        assert_eq!(above(MacVlanMode::Bridge, vec![]), None);
        assert_eq!(above(MacVlanMode::Passthrough, vec![LinkAttribute::LinkNetNsId(0)]), None);
        assert_eq!(why_among(&[], "eth0", 3), None);
    }

    // A bond, by what becomes of its hardware address → refused where it changes.
    #[test]
    fn a_bond_keeps_its_hardware_address() {
        let why = |policy| {
            let data = InfoData::Bond(vec![InfoBond::FailOverMac(policy)]);
            let info = LinkAttribute::LinkInfo(vec![LinkInfo::Data(data)]);
            changes_its_mac(&[link(3, "bond0", vec![info])], "bond0", 3)
        };
        assert!(why(BondFailOverMac::Active).unwrap().ends_with("fail_over_mac none or follow"));
        assert_eq!(why(BondFailOverMac::None), None);
        assert_eq!(why(BondFailOverMac::Follow), None);
    }

    // A macvlan → the lower device has to leave ARP alone, where it is here.
    #[test]
    fn the_kernel_does_not_answer_for_a_macvlan() {
        let kind = vec![LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::MacVlan)])];
        let why = |more: Vec<LinkAttribute>, answering: &[String]| {
            let parts = [vec![LinkAttribute::Link(3)], kind.clone(), more].concat();
            let links = [link(3, "eth0", vec![]), link(9, "mac0", parts)];
            heard_below(&links, "mac0", 9, answering)
        };
        let both = ["eth0".to_owned(), "mac0".to_owned()];
        let said = why(vec![], &both).unwrap();
        assert!(said.ends_with("; set net.ipv4.conf.eth0.arp_ignore=1"), "{said}");
        assert_eq!(why(vec![], &both[1..]), None);
        assert_eq!(why(vec![LinkAttribute::LinkNetNsId(0)], &both), None);
        assert_eq!(heard_below(&[link(3, "eth0", vec![])], "eth0", 3, &both), None);
    }
}
