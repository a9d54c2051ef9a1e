//! What an agent leaves in the kernel, and how it is taken away.

use std::collections::BTreeSet;
use std::net::IpAddr;

use tokio::runtime::Handle;

use super::service_interfaces;
use crate::addresses::{AddressError, Addresses, Change, Place};
use crate::config::checked::{AddressMode, Config};
use crate::data_plane::bpf::BpfPlane;

/// Most of a list in one line of the log.
const FEW: usize = 16;

/// Takes away what an agent before this one left: first nothing answers for it any more, then it
/// goes off the interfaces and out of the routes, then out of the maps. Says what it was.
pub(super) async fn take_away(
    plane: &BpfPlane,
    addresses: &Addresses,
    config: &Config,
) -> anyhow::Result<Vec<String>> {
    let stale = plane.take_over()?;
    let on_interfaces = stale.iter().map(|entry| (Place::Interface(entry.ifindex), entry.address));
    take_off(addresses, on_interfaces.collect()).await?;
    let known: BTreeSet<IpAddr> = stale.iter().map(|entry| entry.address).collect();
    let mut removed: Vec<String> = known.iter().map(IpAddr::to_string).collect();
    removed.extend(take_off_but(addresses, config, &known).await?);
    plane.remove(&stale)?;
    Ok(removed)
}

/// Takes off the addresses that carry this program's mark, whatever the maps say.
pub(super) async fn take_off_marked(
    addresses: &Addresses,
    config: &Config,
) -> anyhow::Result<Vec<String>> {
    take_off_but(addresses, config, &BTreeSet::new()).await
}

/// As [`take_off_marked`], of which these are known and not to be told.
async fn take_off_but(
    addresses: &Addresses,
    config: &Config,
    known: &BTreeSet<IpAddr>,
) -> anyhow::Result<Vec<String>> {
    let mut removed = Vec::new();
    let interfaces = service_interfaces(config);
    let places = interfaces
        .iter()
        .map(|(&index, interface)| (Place::Interface(index), format!("on {}", interface.name)))
        .chain([(Place::Route, "among the local routes".to_owned())]);
    for (place, name) in places {
        let ours = addresses.ours(place).await?;
        let told = ours.iter().filter(|address| !known.contains(address));
        removed.extend(told.map(|address| format!("{address} {name}")));
        take_off(addresses, ours.into_iter().map(|address| (place, address)).collect()).await?;
    }
    Ok(removed)
}

pub(super) async fn take_off(
    addresses: &Addresses,
    which: Vec<(Place, IpAddr)>,
) -> Result<(), AddressError> {
    let change = |(place, address)| Change { add: false, place, address };
    for result in addresses.apply(which.into_iter().map(change).collect()).await {
        match result {
            // With an interface, its addresses have gone.
            Err(AddressError::Remove { source, .. })
                if source.raw_os_error() == Some(libc::ENODEV) => {}
            other => other?,
        }
    }
    Ok(())
}

/// After all groups have ended: takes away what was put in place beforehand and is no group's to
/// release.
pub(super) async fn disarm(plane: &BpfPlane, config: &Config) -> anyhow::Result<()> {
    let armed = AddressMode::Route { prearm: true };
    if config.groups.iter().any(|group| group.address_mode == armed) {
        take_away(plane, &Addresses::connect(&Handle::current())?, config).await?;
    }
    Ok(())
}

/// A list that may be long, for the log.
pub(super) fn few(list: &[String]) -> String {
    let more = list.len().saturating_sub(FEW);
    let shown = list.get(..list.len() - more).unwrap_or_default().join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}
