//! The maps, and the only accesses to them. Their names, keys and values are the contract in
//! `rais_common::maps`.

#![allow(unsafe_code, reason = "the kernel's maps and helpers are reached by pointer; see SAFETY")]

use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::btf_maps::{Array, HashMap, PerCpuArray, PerCpuHashMap, RingBuf};
use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use aya_ebpf::macros::btf_map;
use rais_common::maps::{
    ConflictEvent, Counters, FILTER_WORDS, FilterWord, Lease, MAX_ADDRESSES, MAX_GROUPS,
    ServiceEntry, ServiceKey, Traffic, filter_bit,
};

use crate::log::{Rare, log};

/// Bytes of the ring buffer: about 1,800 claims. A power of two and whole pages, also of 64 KiB.
const EVENT_BYTES: usize = 65_536;

/// Preallocated (about 6 MB): fencing an address replaces its entry, which then cannot fail for
/// want of memory.
#[btf_map]
static SERVICE_ADDRS: HashMap<ServiceKey, ServiceEntry, { MAX_ADDRESSES as usize }> =
    HashMap::new();

#[btf_map]
static FILTER: Array<FilterWord, { FILTER_WORDS as usize }> = Array::new();

#[btf_map]
static LEASES: Array<Lease, { MAX_GROUPS as usize }> = Array::new();

/// Not preallocated: that would cost 2 MB or more for each CPU, and only the agent inserts. Besides
/// those of its addresses it may make as many entries for others beforehand.
#[btf_map]
static TRAFFIC: PerCpuHashMap<
    ServiceKey,
    Traffic,
    { 2 * MAX_ADDRESSES as usize },
    { BPF_F_NO_PREALLOC as usize },
> = PerCpuHashMap::new();

#[btf_map]
static COUNTERS: PerCpuArray<Counters, 1> = PerCpuArray::new();

/// Records of [`ConflictEvent`]. A ring buffer has no value type: libbpf refuses one that is named.
#[btf_map]
static EVENTS: RingBuf<(), EVENT_BYTES> = RingBuf::new();

/// What the loader tells the kernel, which offers some helpers to such programs only.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// An address of this host, and whether it is answered for now.
pub struct Owned {
    /// Its entry, as it was when looked up.
    pub entry: ServiceEntry,
    /// Open, and under a lease that has not ended.
    pub live: bool,
    /// On its way from or to another host: what comes for it may be sent on.
    pub forwards: bool,
}

/// Looks an address up, and at its group's lease. None: not an address of this host here.
#[inline(always)]
#[allow(clippy::inline_always, reason = "one lookup for each packet that comes in")]
pub fn owned(key: &ServiceKey) -> Option<Owned> {
    let bit = filter_bit(&key.address);
    let bits = FILTER.get(bit / u64::BITS)?.bits;
    if bits >> (bit % u64::BITS) & 1 == 0 {
        return None;
    }
    // SAFETY: the entry is copied at once. The agent replaces entries as a whole; a slot that is
    // used again under our hands may be read half old, half new, and the next packet sees it whole.
    let entry = unsafe { SERVICE_ADDRS.get(key) }.copied()?;
    let deadline = LEASES.get(entry.group_slot).map_or(0, |lease| lease.until);
    // SAFETY: a helper without arguments, open to every program.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    if entry.is_over(now) {
        return None;
    }
    let (live, forwards) = (entry.is_live(deadline, now), entry.forwards(deadline, now));
    Some(Owned { entry, live, forwards })
}

/// Changes this CPU's counters.
#[inline(always)]
#[allow(clippy::inline_always, reason = "the closure is an addition")]
pub fn count(change: impl FnOnce(&mut Counters)) {
    if let Some(counters) = COUNTERS.get_ptr_mut(0) {
        // SAFETY: a value of this CPU, which runs one XDP program at a time.
        change(unsafe { &mut *counters });
    }
}

/// Adds to what this CPU counted for an address.
#[inline(always)]
#[allow(clippy::inline_always, reason = "once for each packet to an address of ours")]
pub fn add_traffic(key: &ServiceKey, bytes: u64, connection: bool) {
    if let Some(traffic) = TRAFFIC.get_ptr_mut(key) {
        // SAFETY: a value of this CPU, which runs one XDP program at a time. The kernel frees a
        // removed entry only after this run.
        let traffic = unsafe { &mut *traffic };
        traffic.packets += 1;
        traffic.bytes += bytes;
        traffic.connections += u64::from(connection);
    }
}

/// Tells the agent of a claim; counts and logs it, too.
///
/// A function of its own: nothing of this is to be in the way of those packets that are not rare.
#[inline(never)]
pub fn report(event: &ConflictEvent) {
    log(Rare::Claim, &event.key, || event.mac);
    let lost = EVENTS.output_untyped::<ConflictEvent>(event, 0).is_err();
    count(|c| {
        c.conflicts += 1;
        c.events_lost += u64::from(lost);
    });
}
