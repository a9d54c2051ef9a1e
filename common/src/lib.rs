//! What the agent and its XDP program share, so that neither can drift from the other:
//! the layout of the BPF maps ([`maps`]), the rules of ARP ([`arp`]) and of neighbour discovery
//! ([`neighbour`]), what becomes of traffic while an address changes hosts ([`handover`]), and the
//! clock both compare leases on ([`time`]).

#![no_std]

pub mod arp;
pub mod handover;
pub mod maps;
pub mod neighbour;
pub mod time;

/// `IFA_PROTO` of the addresses an agent put on an interface ("R").
pub const ADDRESS_MARK: u8 = 0x52;
