//! What `cargo xtask bench data-plane` measures `rais_xdp` against; no part of an agent.

#![no_std]
#![no_main]
#![allow(
    missing_docs,
    reason = "the program macro does not hand comments on; nothing else is public"
)]
#![allow(unsafe_code, reason = "the kernel's maps and packets are reached by pointer; see SAFETY")]

use aya_ebpf::bindings::xdp_action::XDP_PASS;
use aya_ebpf::btf_maps::{Array, ProgramArray};
use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;

/// The longest frame that is put back.
const LONGEST: usize = 86;

/// What a frame looked like before it was answered.
#[btf_map]
static FRAME: Array<[u8; 88], 1> = Array::new();

/// The program that is measured, at index 0.
#[btf_map]
static MEASURED: ProgramArray<1> = ProgramArray::new();

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Lets everything through.
#[xdp]
pub fn rais_pass(_: XdpContext) -> u32 {
    XDP_PASS
}

/// Puts a frame back as it was, and runs the program that is measured: a test run gives one program
/// the same frame again and again, and an answer is no question.
#[allow(clippy::needless_pass_by_value, reason = "the macro hands it over so")]
#[xdp]
pub fn rais_again(context: XdpContext) -> u32 {
    if let Some(frame) = FRAME.get(0)
        && !put_back::<LONGEST>(&context, frame)
    {
        put_back::<42>(&context, frame);
    }
    // What was just written comes out of the store buffer, where a packet never is: reading it there
    // by other words would stall. The clock takes long enough for that to end.
    // SAFETY: a helper without arguments, open to every program.
    unsafe { bpf_ktime_get_boot_ns() };
    // SAFETY: the kernel runs the other program on the same context, or goes on here.
    unsafe { MEASURED.tail_call(&context, 0) };
    XDP_PASS
}

/// Overwrites so many bytes, if there are that many.
#[inline(always)]
#[allow(clippy::inline_always, reason = "packet pointers do not survive a BPF function call")]
fn put_back<const BYTES: usize>(context: &XdpContext, frame: &[u8; 88]) -> bool {
    let (start, end) = (context.data(), context.data_end());
    if start + BYTES > end {
        return false;
    }
    // SAFETY: so many bytes are in the packet and in the array.
    unsafe {
        core::ptr::copy_nonoverlapping(frame.as_ptr(), start as *mut u8, BYTES);
    }
    true
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Nothing here can panic.
    #[allow(clippy::empty_loop, reason = "there is nothing to sleep on, and it is never reached")]
    loop {}
}
