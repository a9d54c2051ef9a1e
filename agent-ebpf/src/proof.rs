//! Whether a driver sends what it is handed by an XDP program: `rais_send` hands it one frame in a
//! test run, and `rais_witness` takes note of what becomes of it.

#![no_std]
#![no_main]
#![allow(
    missing_docs,
    reason = "the program macro does not hand comments on; nothing else is public"
)]
#![allow(unsafe_code, reason = "the kernel's maps and helpers are reached by pointer; see SAFETY")]

use aya_ebpf::bindings::xdp_action::XDP_ABORTED;
use aya_ebpf::btf_maps::Array;
use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_redirect};
use aya_ebpf::macros::{btf_map, raw_tracepoint, xdp};
use aya_ebpf::programs::{RawTracePointContext, XdpContext};
use rais_common::maps::Proof;

/// Not pinned: each proof has its own.
#[btf_map]
static PROOF: Array<Proof, 1> = Array::new();

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Hands every frame to the driver of an interface to send it, and has the witness look on this CPU
/// from now on: the kernel does nothing else here before.
#[allow(clippy::needless_pass_by_value, reason = "the macro hands it over so")]
#[xdp]
pub fn rais_send(_: XdpContext) -> u32 {
    let Some(proof) = PROOF.get_ptr_mut(0) else { return XDP_ABORTED };
    // SAFETY: a value of the map, which the witness changes on this CPU only.
    let proof = unsafe { &mut *proof };
    // SAFETY: a helper without arguments, open to every program.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    proof.cpu = u64::from(cpu) + 1;
    let ifindex = u32::try_from(proof.ifindex).unwrap_or(0);
    // SAFETY: a helper that takes two numbers.
    let fate = unsafe { bpf_redirect(ifindex, 0) };
    u32::try_from(fate).unwrap_or(XDP_ABORTED)
}

/// A driver was handed frames: devices from and to, how many it took, how many it dropped, an error.
#[allow(clippy::needless_pass_by_value, reason = "the macro hands it over so")]
#[raw_tracepoint(tracepoint = "xdp_devmap_xmit")]
pub fn rais_witness(context: RawTracePointContext) -> i32 {
    let Some(proof) = PROOF.get_ptr_mut(0) else { return 0 };
    // SAFETY: a helper without arguments, open to every program.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    // SAFETY: a value of the map, which changes on the CPU that is named in it only.
    let proof = unsafe { &mut *proof };
    if proof.cpu == u64::from(cpu) + 1 {
        proof.cpu = 0;
        proof.calls += 1;
        proof.sent = i64::from(context.arg::<i32>(2));
        proof.error = i64::from(context.arg::<i32>(4));
    }
    0
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Nothing here can panic.
    #[allow(clippy::empty_loop, reason = "there is nothing to sleep on, and it is never reached")]
    loop {}
}
