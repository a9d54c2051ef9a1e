//! `[agent]`

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::checked::{Agent, Daemon, DataPlaneKind, XdpMode};
use super::daemon;
use super::facts::Facts;
use super::reader::Section;
use crate::group::HostId;

/// Longest path of a Unix socket: `sun_path` has 108 bytes with its closing zero (unix(7)).
const MAX_SOCKET_PATH: usize = 107;

/// What `[agent]` says, before the groups are known.
pub(super) struct Raw {
    pub(super) host_id: Option<HostId>,
    run_dir: PathBuf,
    bpf_dir: PathBuf,
    state_dir: PathBuf,
    pub(super) data_plane: DataPlaneKind,
    xdp_mode: XdpMode,
    log_packets: bool,
    realtime: bool,
    metrics: Option<SocketAddr>,
    daemon: Daemon,
}

impl Raw {
    pub(super) fn build(self, host: HostId) -> Agent {
        Agent {
            host,
            run_dir: self.run_dir,
            bpf_dir: self.bpf_dir,
            state_dir: self.state_dir,
            data_plane: self.data_plane,
            xdp_mode: self.xdp_mode,
            log_packets: self.log_packets,
            realtime: self.realtime,
            metrics: self.metrics,
            daemon: self.daemon,
        }
    }
}

/// Reads the section, which may be left out.
pub(super) fn read(section: Option<Section<'_>>, facts: &dyn Facts) -> Raw {
    let mut raw = Raw {
        host_id: None,
        run_dir: "/run/rais".into(),
        bpf_dir: "/sys/fs/bpf/rais".into(),
        state_dir: "/var/lib/rais".into(),
        data_plane: DataPlaneKind::Xdp,
        xdp_mode: XdpMode::Auto,
        log_packets: false,
        realtime: true,
        metrics: None,
        daemon: daemon::usual(),
    };
    let Some(section) = section else { return raw };
    if let Some(at) = section.parsed::<IpAddr>("host_id", "an IP address in quotes") {
        if at.value.is_unspecified() || at.value.is_multicast() {
            let message = format!("`host_id`: {} is not the address of a host", at.value);
            section.document().mistake(at.offset, message);
        }
        raw.host_id = Some(HostId(at.value));
    }
    if let Some(at) = section.path("run_dir") {
        if at.value.join("rais.sock").as_os_str().len() > MAX_SOCKET_PATH {
            section.document().mistake(
                at.offset,
                format!(
                    "`run_dir`: the path of rais.sock in it would be longer than \
                     {MAX_SOCKET_PATH} bytes, the limit for a socket; choose a shorter one"
                ),
            );
        }
        raw.run_dir = at.value;
    }
    if let Some(at) = section.path("bpf_dir") {
        raw.bpf_dir = at.value;
    }
    if let Some(at) = section.path("state_dir") {
        raw.state_dir = at.value;
    }
    let planes = [("xdp", DataPlaneKind::Xdp), ("kernel", DataPlaneKind::Kernel)];
    if let Some(at) = section.choice("data_plane", &planes) {
        raw.data_plane = at.value;
    }
    let modes =
        [("auto", XdpMode::Auto), ("native", XdpMode::Native), ("generic", XdpMode::Generic)];
    if let Some(at) = section.choice("xdp_mode", &modes) {
        raw.xdp_mode = at.value;
    }
    if let Some(at) = section.boolean("log_packets") {
        if at.value && raw.data_plane == DataPlaneKind::Kernel {
            let message =
                "`log_packets` needs `data_plane = \"xdp\"`: the XDP program alone sees them";
            section.document().mistake(at.offset, message);
        }
        raw.log_packets = at.value;
    }
    if let Some(at) = section.boolean("realtime") {
        raw.realtime = at.value;
    }
    raw.metrics = metrics(&section);
    raw.daemon = daemon::read(&section, facts);
    section.finish();
    raw
}

/// Where the metrics are served.
fn metrics(section: &Section<'_>) -> Option<SocketAddr> {
    let expected = "an IP address and a TCP port in quotes, such as \"127.0.0.1:9477\"";
    let at = section.parsed::<SocketAddr>("metrics", expected)?;
    let problem = if at.value.port() == 0 {
        "has no usable port; expected 1 to 65535"
    } else if at.value.ip().is_multicast() {
        "is a multicast address; expected one of this machine"
    } else {
        return Some(at.value);
    };
    section.document().mistake(at.offset, format!("`metrics`: {} {problem}", at.value));
    None
}
