//! The XDP program `rais_xdp`: answers ARP for the addresses this host holds, counts their
//! traffic, and drops both once the lease has ended, whatever became of the agent.
//!
//! Everything that is not about an address in `SERVICE_ADDRS` on the receiving interface passes
//! untouched, and so do VLAN-tagged frames: their addresses are on other interfaces.

#![no_std]
#![no_main]
#![allow(
    missing_docs,
    reason = "the program macro does not hand comments on; nothing else is public"
)]

mod maps;
mod packet;
mod responder;
mod traffic;

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

use packet::{Ethernet, Packet};

/// What becomes of a packet.
#[derive(Clone, Copy)]
enum Fate {
    /// On to the kernel.
    Pass,
    /// Nowhere.
    Drop,
    /// Back out of the interface it came in.
    SendBack,
}

/// The entry. Its name is what `bpftool` shows.
#[allow(unsafe_code, reason = "the macro exports the symbol under its plain name")]
#[xdp]
pub fn rais_xdp(context: XdpContext) -> u32 {
    let mut packet = Packet::new(context);
    let Some(ethernet) = packet.at::<Ethernet>(0) else {
        return XDP_PASS;
    };
    let fate = match u16::from_be_bytes(ethernet.ethertype) {
        rais_common::arp::ETHERTYPE => responder::arp(&mut packet),
        packet::IPV4 => traffic::ipv4(&packet),
        packet::IPV6 => traffic::ipv6(&packet),
        _ => Fate::Pass,
    };
    match fate {
        Fate::Pass => XDP_PASS,
        Fate::Drop => XDP_DROP,
        Fate::SendBack => XDP_TX,
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Nothing here can panic; the verifier would refuse a program that could end up in this loop.
    #[allow(clippy::empty_loop, reason = "there is nothing to sleep on, and it is never reached")]
    loop {}
}
