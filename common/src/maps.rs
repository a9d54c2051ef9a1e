//! Keys and values of the BPF maps: the contract between the agent, the XDP program and whoever
//! looks with `bpftool map dump`. A change of any layout raises [`SCHEMA`].

/// Version of the layouts below. Part of the path the maps are pinned under, because the kernel
/// reuses a pinned map without comparing what is in it.
pub const SCHEMA: u32 = 3;

/// Most service addresses one machine can hold, all groups and interfaces together.
pub const MAX_ADDRESSES: u32 = 65_536;

/// Most service groups one agent can be in.
pub const MAX_GROUPS: u32 = 256;

/// Key of `SERVICE_ADDRS` and `TRAFFIC`: an address on an interface.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// The address in network byte order; IPv4 as `::ffff:a.b.c.d`.
    pub address: [u8; 16],
    /// Index of the service interface.
    pub ifindex: u32,
}

/// `ServiceEntry::state`: this host's, but not to be answered for. Requests and traffic are
/// dropped, so that the kernel does not answer in our stead.
pub const STATE_FENCED: u16 = 0;
/// `ServiceEntry::state`: answered for and passed while the group's lease lives; fenced after.
pub const STATE_OPEN: u16 = 1;
/// `ServiceEntry::state`: about to be taken over from `peer`, which holds it still. Not answered
/// for. What `peer` sends on is accepted, what comes from others is sent on to it; both while the
/// group's lease lives.
pub const STATE_STAGED: u16 = 2;
/// `ServiceEntry::state`: handed over to `peer`. Neither answered for nor accepted: what still
/// comes is sent on to `peer` until `until`, and while the group's lease lives; dropped after.
pub const STATE_FORWARDED: u16 = 3;
/// `ServiceEntry::state`: as [`STATE_FORWARDED`], by an agent that has ended in order since: needs
/// no lease, and is over at `until`, as if there were no entry.
pub const STATE_LEFT: u16 = 4;

/// Value of `SERVICE_ADDRS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceEntry {
    /// Index into `LEASES`.
    pub group_slot: u32,
    /// [`STATE_FENCED`], [`STATE_OPEN`], [`STATE_STAGED`], [`STATE_FORWARDED`] or [`STATE_LEFT`].
    pub state: u16,
    /// The hardware address to answer with: the service interface's own.
    pub mac: [u8; 6],
    /// The hardware address of the host that it comes from, or went to.
    pub peer: [u8; 6],
    /// Always zero; names the padding.
    pub reserved: [u8; 6],
    /// When sending on ends, in nanoseconds of `CLOCK_BOOTTIME`.
    pub until: u64,
}

impl ServiceEntry {
    /// An entry that has nothing to do with another host.
    #[inline]
    #[must_use]
    pub const fn new(group_slot: u32, state: u16, mac: [u8; 6]) -> Self {
        Self { group_slot, state, mac, peer: [0; 6], reserved: [0; 6], until: 0 }
    }

    /// Whether the address is answered for at `now`, where its group's lease ends at `deadline`
    /// (both in nanoseconds since boot). At the deadline itself the lease has ended.
    #[inline]
    #[must_use]
    pub const fn is_live(&self, deadline: u64, now: u64) -> bool {
        self.state == STATE_OPEN && now < deadline
    }

    /// Whether what comes for the address is sent on at `now`, where the lease ends at `deadline`.
    #[inline]
    #[must_use]
    pub const fn forwards(&self, deadline: u64, now: u64) -> bool {
        match self.state {
            STATE_STAGED => now < deadline,
            STATE_FORWARDED => now < deadline && now < self.until,
            STATE_LEFT => now < self.until,
            _ => false,
        }
    }

    /// Whether the entry means nothing any more.
    #[inline]
    #[must_use]
    pub const fn is_over(&self, now: u64) -> bool {
        self.state == STATE_LEFT && now >= self.until
    }
}

/// Value of `FILTER`: one bit for each value of [`filter_bit`]. A bit that is not set says that no
/// address of this value is in `SERVICE_ADDRS`, which most packets need not be looked up in, then.
/// A bit is set before the first entry of its addresses is written, and cleared after the last.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FilterWord {
    /// The bits, from the lowest.
    pub bits: u64,
}

/// Bits in `FILTER`, a power of two: 128 KiB. With all [`MAX_ADDRESSES`] one address in sixteen of
/// other machines is looked up in vain.
pub const FILTER_BITS: u32 = 1 << 20;

/// Entries of `FILTER`.
pub const FILTER_WORDS: u32 = FILTER_BITS / u64::BITS;

/// The place of an address in `FILTER`, below [`FILTER_BITS`]: its entry is this by 64, its bit the
/// rest. The multipliers are odd and without pattern (the golden ratio's, and a prime).
#[inline(always)]
#[must_use]
#[allow(clippy::inline_always, reason = "a constant prefix shall be taken into account")]
#[allow(clippy::cast_possible_truncation, reason = "20 bits are left")]
pub fn filter_bit(address: &[u8; 16]) -> u32 {
    let number = u128::from_be_bytes(*address);
    let (high, low) = ((number >> 64) as u64, number as u64);
    let mixed = high.wrapping_mul(0xd6e8_feb8_6659_fd93) ^ low;
    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - FILTER_BITS.ilog2())) as u32
}

/// Value of `LEASES`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// When it ends, in nanoseconds of `CLOCK_BOOTTIME`; 0: there is none.
    pub until: u64,
}

/// Value of `TRAFFIC`, one for each CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets to the address that were let through.
    pub packets: u64,
    /// Their bytes, as Ethernet frames without the frame check sequence.
    pub bytes: u64,
    /// Of them, TCP segments with SYN and without ACK: connections begun.
    pub connections: u64,
}

/// Value of `COUNTERS` (one entry, one value for each CPU).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// ARP requests for an address of ours.
    pub arp_asked: u64,
    /// Of them, answered.
    pub arp_answered: u64,
    /// ARP packets that are truncated or not Ethernet and IPv4.
    pub arp_malformed: u64,
    /// ARP requests dropped because the lease had lapsed or the address was fenced.
    pub arp_refused: u64,
    /// Neighbour solicitations for an address of ours.
    pub nd_asked: u64,
    /// Of them, answered.
    pub nd_answered: u64,
    /// Neighbour solicitations that break a rule of RFC 4861.
    pub nd_malformed: u64,
    /// Neighbour solicitations dropped because the lease had lapsed or the address was fenced.
    pub nd_refused: u64,
    /// Packets to an address of ours dropped because the lease had lapsed or it was fenced.
    pub fenced: u64,
    /// Packets sent on to the host that an address is taken over from, or was handed over to.
    pub forwarded: u64,
    /// Claims by others to an address we hold.
    pub conflicts: u64,
    /// Such claims that found no room in `EVENTS`.
    pub events_lost: u64,
}

impl Counters {
    /// The sum of two, such as of two CPUs. Wraps, as the counters themselves do.
    #[must_use]
    pub const fn plus(self, other: &Self) -> Self {
        Self {
            arp_asked: self.arp_asked.wrapping_add(other.arp_asked),
            arp_answered: self.arp_answered.wrapping_add(other.arp_answered),
            arp_malformed: self.arp_malformed.wrapping_add(other.arp_malformed),
            arp_refused: self.arp_refused.wrapping_add(other.arp_refused),
            nd_asked: self.nd_asked.wrapping_add(other.nd_asked),
            nd_answered: self.nd_answered.wrapping_add(other.nd_answered),
            nd_malformed: self.nd_malformed.wrapping_add(other.nd_malformed),
            nd_refused: self.nd_refused.wrapping_add(other.nd_refused),
            fenced: self.fenced.wrapping_add(other.fenced),
            forwarded: self.forwarded.wrapping_add(other.forwarded),
            conflicts: self.conflicts.wrapping_add(other.conflicts),
            events_lost: self.events_lost.wrapping_add(other.events_lost),
        }
    }
}

/// Record in the ring buffer `EVENTS`: another machine claimed an address we hold.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConflictEvent {
    /// The claimed address and where the claim was heard.
    pub key: ServiceKey,
    /// The claimant's hardware address.
    pub mac: [u8; 6],
    /// Always zero; names the padding so that no byte is left uninitialised.
    pub reserved: [u8; 2],
}

/// The one value of `PROOF`: what a driver made of one frame that it was handed to send.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// The interface.
    pub ifindex: u64,
    /// Where the frame is handed over: the number of the CPU and 1; 0: nowhere.
    pub cpu: u64,
    /// How often the driver was handed one.
    pub calls: u64,
    /// How many it took.
    pub sent: i64,
    /// Its error, negative; or 0.
    pub error: i64,
}

const _: () = {
    assert!(size_of::<Proof>() == 40);
    assert!(size_of::<ServiceKey>() == 20);
    assert!(size_of::<ServiceEntry>() == 32);
    assert!(size_of::<Lease>() == 8);
    assert!(size_of::<FilterWord>() == 8);
    assert!(size_of::<Traffic>() == 24);
    assert!(size_of::<Counters>() == 96);
    assert!(size_of::<ConflictEvent>() == 28);
};

/// `address` as the maps hold it: IPv4-mapped (RFC 4291, 2.5.5.2).
#[inline(always)]
#[must_use]
#[allow(clippy::inline_always, reason = "built where it is used, it needs no memset in BPF")]
pub fn mapped(address: [u8; 4]) -> [u8; 16] {
    (0xffff_0000_0000 | u128::from(u32::from_be_bytes(address))).to_be_bytes()
}

#[cfg(feature = "user")]
mod pod {
    #![allow(unsafe_code, reason = "aya's marker for types that may be copied to the kernel")]

    // SAFETY: each of these is `repr(C)`, made of integers and byte arrays only, without padding
    // (asserted by size above), and valid for every bit pattern.
    unsafe impl aya::Pod for super::ServiceKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::ServiceEntry {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Lease {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::FilterWord {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Traffic {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Counters {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Proof {}
}
