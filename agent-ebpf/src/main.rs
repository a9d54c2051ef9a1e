//! The XDP program `rais_xdp`: answers ARP and neighbour solicitations for the addresses this
//! host holds, counts their traffic, and drops all of it once the lease has ended, whatever became of the agent.
//!
//! What comes for an address that is being handed over goes to the host that accepts it
//! (`rais_common::handover`).
//!
//! Everything that is not about an address in `SERVICE_ADDRS` on the receiving interface passes
//! untouched, and so do frames of a VLAN: their addresses are on other interfaces. A tag for VLAN 0
//! only tells a priority (IEEE 802.1Q, 9.6); Linux takes such a frame as an untagged one, so its
//! traffic is counted and fenced, while requests are left to the kernel unless refused.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![allow(
    missing_docs,
    reason = "the program macro does not hand comments on; nothing else is public"
)]

mod log;
mod maps;
mod packet;
mod responder;
mod traffic;

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

use rais_common::{arp, neighbour};

use packet::Packet;

/// What becomes of a packet.
#[derive(Clone, Copy)]
enum Fate {
    /// On to the kernel.
    Pass,
    /// Nowhere.
    Drop,
    /// Back out of the interface it came in.
    SendBack,
    /// Out of the interface it came in, to another host.
    Forward {
        /// Its hardware address.
        to: [u8; 6],
        /// Ours.
        from: [u8; 6],
    },
}

/// The entry. Its name is what `bpftool` shows.
#[allow(unsafe_code, reason = "the macro exports the symbol under its plain name")]
#[xdp]
pub fn rais_xdp(context: XdpContext) -> u32 {
    let mut packet = Packet::new(context);
    let fate = match packet.ethertype() {
        Some(arp::ETHERTYPE) if packet.is_tagged() => responder::tagged_arp(&packet),
        Some(arp::ETHERTYPE) => responder::arp(&mut packet),
        Some(packet::IPV4) => traffic::ipv4(&packet),
        Some(neighbour::ETHERTYPE) => traffic::ipv6(&mut packet),
        _ => Fate::Pass,
    };
    match fate {
        Fate::Pass => XDP_PASS,
        Fate::SendBack => XDP_TX,
        Fate::Forward { to, from } if packet.readdress(to, from) => XDP_TX,
        Fate::Drop | Fate::Forward { .. } => XDP_DROP,
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Nothing here can panic; the verifier would refuse a program that could end up in this loop.
    #[allow(clippy::empty_loop, reason = "there is nothing to sleep on, and it is never reached")]
    loop {}
}
