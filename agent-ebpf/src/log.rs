//! Records for the log: of rare things only, and only where the configuration asks for them.
//!
//! They are read by aya-log, in whose form they are written here by hand. The macros of aya-log-ebpf
//! will not do: their map is declared in a form that libbpf, and with it `bpftool`, has given up, and
//! they put fields of odd lengths on the stack, which this program's way of reading unaligned
//! headers makes stores that the verifier refuses. Here each byte goes straight into the ring buffer.

#![allow(clippy::many_single_char_names, reason = "the bytes of a hardware address")]

use aya_ebpf::btf_maps::{Array, RingBuf};
use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use aya_ebpf::macros::btf_map;
use aya_log_common::{ArgumentKind, DisplayHint, Level, RecordFieldKind};
use rais_common::maps::ServiceKey;

/// Whether anything is logged. The loader overrides it before the kernel sees the program; the
/// verifier knows the value and takes out what it never lets run.
#[unsafe(no_mangle)]
#[allow(unsafe_code, reason = "the loader finds it by its plain name")]
static LOG_EVENTS: u8 = 0;

/// Bytes of the ring buffer, some 80 records. The loader makes it a page where nothing is logged.
const LOG_BYTES: usize = 16_384;

/// Records, under the name by which aya-log looks for them. Not pinned: each program has its own.
#[btf_map]
static AYA_LOGS: RingBuf<(), LOG_BYTES> = RingBuf::new();

/// Most records a second, on all CPUs together; about so many, for they do not wait for each other.
const MOST: u64 = 10;
const SECOND: u64 = 1_000_000_000;

/// How many were written of late.
#[repr(C)]
struct Budget {
    /// Since when, in nanoseconds of `CLOCK_BOOTTIME`.
    since: u64,
    written: u64,
}

#[btf_map]
static LOG_BUDGET: Array<Budget, 1> = Array::new();

/// A field of a record: what it is, the length of its value, the value.
#[repr(C, packed)]
struct Field<T> {
    kind: u8,
    length: u16,
    value: T,
}

impl<T> Field<T> {
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "nothing of it may be on the stack")]
    #[allow(clippy::cast_possible_truncation, reason = "the values are short")]
    const fn new(kind: u8, value: T) -> Self {
        Self { kind, length: size_of::<T>() as u16, value }
    }
}

/// A record with a text of so many bytes.
#[repr(C, packed)]
struct Record<const TEXT: usize> {
    size: u16,
    target: Field<[u8; 4]>,
    level: Field<u8>,
    module: Field<[u8; 0]>,
    file: Field<[u8; 0]>,
    line: Field<u32>,
    /// How many fields follow.
    arguments: Field<u32>,
    text: Field<[u8; TEXT]>,
    address_as: Field<u8>,
    address: Field<[u8; 16]>,
    from: Field<[u8; 6]>,
    mac_as: Field<u8>,
    mac: Field<[u8; 6]>,
}

/// What is worth a record.
#[derive(Clone, Copy)]
pub enum Rare {
    /// Another machine says that it has an address this host holds.
    Claim,
    /// A question for an address of this host breaks the rules.
    Malformed,
    /// A question is not answered, since the lease is over or the address is fenced.
    Refused,
}

/// Logs what a machine of this hardware address did about an address of this host.
#[inline(always)]
#[allow(clippy::inline_always, reason = "the verifier has to see the condition where it is asked")]
#[allow(clippy::cast_possible_truncation, reason = "the two halves of a number")]
pub fn log(what: Rare, key: &ServiceKey, mac: impl FnOnce() -> [u8; 6]) {
    if !asked_for() {
        return;
    }
    // All in registers: nothing of it shall be put on the stack for those that are not rare.
    let address = u128::from_be_bytes(key.address);
    let (high, low) = ((address >> 64) as u64, address as u64);
    let [a, b, c, d, e, f] = mac();
    let mac = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
    match what {
        Rare::Claim => claim(high, low, mac),
        Rare::Malformed => malformed(high, low, mac),
        Rare::Refused => refused(high, low, mac),
    }
}

// Functions of their own: they are taken out as a whole, and the rest is compiled as if they were
// not there.

#[inline(never)]
fn claim(high: u64, low: u64, mac: u64) {
    write(b"claim to ", high, low, mac);
}

#[inline(never)]
fn malformed(high: u64, low: u64, mac: u64) {
    write(b"malformed question for ", high, low, mac);
}

#[inline(never)]
fn refused(high: u64, low: u64, mac: u64) {
    write(b"no lease to answer a question for ", high, low, mac);
}

#[inline(always)]
#[allow(clippy::inline_always, reason = "as above")]
#[allow(clippy::cast_possible_truncation, reason = "a record is short")]
fn write<const TEXT: usize>(text: &[u8; TEXT], high: u64, low: u64, mac: u64) {
    if !within_budget() {
        return;
    }
    let Some(mut entry) = AYA_LOGS.reserve_untyped::<Record<TEXT>>(0) else {
        return;
    };
    let [_, _, a, b, c, d, e, f] = mac.to_be_bytes();
    let address = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
    entry.write(Record {
        size: size_of::<Record<TEXT>>() as u16,
        target: Field::new(RecordFieldKind::Target as u8, *b"rais"),
        level: Field::new(RecordFieldKind::Level as u8, Level::Info as u8),
        module: Field::new(RecordFieldKind::Module as u8, []),
        file: Field::new(RecordFieldKind::File as u8, []),
        line: Field::new(RecordFieldKind::Line as u8, 0),
        arguments: Field::new(RecordFieldKind::NumArgs as u8, 6),
        text: Field::new(ArgumentKind::Str as u8, *text),
        address_as: Field::new(ArgumentKind::DisplayHint as u8, DisplayHint::Ip as u8),
        address: Field::new(ArgumentKind::ArrU8Len16 as u8, address),
        from: Field::new(ArgumentKind::Str as u8, *b" from "),
        mac_as: Field::new(ArgumentKind::DisplayHint as u8, DisplayHint::LowerMac as u8),
        mac: Field::new(ArgumentKind::ArrU8Len6 as u8, [a, b, c, d, e, f]),
    });
    entry.submit(0);
}

#[inline(always)]
#[allow(clippy::inline_always, reason = "as above")]
#[allow(unsafe_code, reason = "the compiler may not take the value for the one above")]
fn asked_for() -> bool {
    // SAFETY: a byte of this program's, which is there as long as the program.
    unsafe { core::ptr::read_volatile(&raw const LOG_EVENTS) != 0 }
}

#[inline(never)]
#[allow(unsafe_code, reason = "the kernel's maps and helpers are reached by pointer; see SAFETY")]
fn within_budget() -> bool {
    let Some(budget) = LOG_BUDGET.get_ptr_mut(0) else { return false };
    // SAFETY: a value of the map, which is never freed. Another CPU may write it at the same time:
    // then a record more or less is written.
    let budget = unsafe { &mut *budget };
    // SAFETY: a helper without arguments, open to every program.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    if now.wrapping_sub(budget.since) > SECOND {
        *budget = Budget { since: now, written: 0 };
    }
    budget.written += 1;
    budget.written <= MOST
}
