//! What the XDP program logs of packets, on its way to the agent's log.
//!
//! The program writes records in the form of aya-log into `AYA_LOGS`, a ring buffer of its own that is
//! not pinned: it goes with the program. Unless it is asked for, the loader says so to the program
//! (`LOG_EVENTS`), the verifier takes the code out, and the ring buffer is a page.

use aya::{Ebpf, EbpfLoader};
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};

use super::error::BpfError;

/// The switch, a read-only global of the program.
const SWITCH: &str = "LOG_EVENTS";
/// The ring buffer.
const RING: &str = "AYA_LOGS";
/// The least a ring buffer can have; aya makes it a page where those are larger.
const LEAST_BYTES: u32 = 4096;

/// Tells the program whether to log. To be called before it is loaded.
pub(super) fn choose(loader: &mut EbpfLoader<'_>, asked_for: bool) {
    loader.override_global(SWITCH, if asked_for { &1_u8 } else { &0_u8 }, true);
    if !asked_for {
        loader.map_max_entries(RING, LEAST_BYTES);
    }
}

/// The records of the program on one interface.
pub struct PacketLog(EbpfLogger<Words>);

impl std::fmt::Debug for PacketLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PacketLog")
    }
}

impl PacketLog {
    /// Of the program in `object`, whose ring buffer it takes.
    pub(super) fn of(object: &mut Ebpf, interface: &str) -> Result<Self, BpfError> {
        let words = Words { interface: interface.to_owned() };
        EbpfLogger::init_with_logger(object, words)
            .map(Self)
            .map_err(|error| BpfError::new("reading what the XDP program logs", error))
    }

    /// Writes to the log what has come since the last time: the program writes about ten records a
    /// second at most.
    pub fn write_down(&mut self) {
        self.0.flush();
    }
}

/// Records in words, to the agent's log.
struct Words {
    interface: String,
}

impl Log for Words {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        // The maps have IPv4 addresses in the form of IPv6.
        let text = record.args().to_string().replace("::ffff:", "");
        tracing::info!(interface = self.interface, "{text}");
    }

    fn flush(&self) {}
}
