//! XDP in native mode, where the interface is one end of a veth pair.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use rais::config::checked::{Interface, XdpMode};
use rais::data_plane::bpf::BpfPlane;
use serde_json::Value;

use super::{Bed, Host, look, port};

impl Bed {
    /// Lets a host run its XDP program in native mode: the bridge's end of its `eth0` runs one as
    /// well, without which what is sent back or on vanishes.
    ///
    /// # Errors
    /// The program is not taken there.
    pub fn allow_native(&self, host: &Host) -> Result<()> {
        let port = port(host.name());
        let links: Vec<BTreeMap<String, Value>> =
            serde_json::from_str(&self.on_switch("ip", &["-j", "link", "show", "dev", &port])?)?;
        let index = links.first().and_then(|link| link.get("ifindex")?.as_u64());
        let interface = Interface {
            index: u32::try_from(index.context("no ifindex")?)?,
            name: port.clone(),
            mac: [0; 6],
            addresses: Vec::new(),
        };
        // With no service address the program lets everything pass. It stays: it is pinned.
        let dir = self.dir.join("bpf").join(port);
        look::inside(&self.netns("sw"), move || {
            let plane = BpfPlane::open(&dir)?;
            plane.attach(&interface, XdpMode::Native)
        })?
        .map(drop)
        .context("a program at the bridge's end")
    }
}

impl Host {
    /// Has every checksum computed before a packet leaves. A veth pair does without, and says so
    /// beside the packet; that is lost where a native program sends the packet on.
    ///
    /// # Errors
    /// `ethtool` failed.
    pub fn compute_checksums(&self) -> Result<()> {
        self.run("ethtool", &["-K", "eth0", "tx", "off"]).map(drop)
    }
}
