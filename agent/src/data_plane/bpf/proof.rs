//! Whether a driver in native mode sends what the XDP program gives it to send.
//!
//! Some drivers take it, say nothing, and drop it, for instance where they have no queue for it. So
//! before native mode is relied on, one frame goes that way: in a test run with live frames (Linux
//! 5.18) `rais_send` hands it to the driver (`ndo_xdp_xmit`), and `rais_witness`, on the tracepoint
//! `xdp_devmap_xmit`, sees how many the driver took. What a program sends back with `XDP_TX` takes the
//! same queues; drivers in which it does not, such as veth, have to be known.
//!
//! The frame is from the interface to itself, of a type for experiments: a switch drops it, and no
//! host takes it in.

use aya::maps::{Array, MapError};
use aya::programs::{ProgramError, RawTracePoint, Xdp};
use aya::{Ebpf, EbpfError, TestRun, TestRunAttrs, TestRunOptions};
use rais_common::maps;

use crate::causes::in_words;
use crate::config::checked::Interface;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The driver took the frame to send it.
    Leaves,
    /// It did not: in words.
    Lost(String),
    /// That could not be found out: in words.
    Unknown(String),
}

/// The shortest frame there is, without its check sequence.
const FRAME: usize = 60;

/// For experiments (IEEE 802, 9.2.3).
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("the object has no {0}")]
    Missing(&'static str),
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error(transparent)]
    Map(#[from] MapError),
    #[error(transparent)]
    Object(#[from] EbpfError),
    #[error("test run: {0}")]
    Run(#[source] ProgramError),
}

/// The compiled programs, an ELF object.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("PROOF_OBJECT"));

/// Tries it on an interface that runs a program in native mode.
#[must_use]
pub fn of(interface: &Interface) -> Proof {
    match run(interface) {
        Ok(seen) => judge(&seen),
        Err(trouble) => Proof::Unknown(in_words(&trouble)),
    }
}

fn run(interface: &Interface) -> Result<maps::Proof, Trouble> {
    let mut object = Ebpf::load(OBJECT)?;
    let witness = object.program_mut("rais_witness").ok_or(Trouble::Missing("rais_witness"))?;
    let witness: &mut RawTracePoint = witness.try_into()?;
    witness.load()?;
    witness.attach("xdp_devmap_xmit")?;
    let map = object.map_mut("PROOF").ok_or(Trouble::Missing("PROOF"))?;
    let wanted = maps::Proof { ifindex: interface.index.into(), ..maps::Proof::default() };
    Array::try_from(map)?.set(0, wanted, 0)?;
    let sender = object.program_mut("rais_send").ok_or(Trouble::Missing("rais_send"))?;
    let sender: &mut Xdp = sender.try_into()?;
    sender.load()?;
    let frame = frame(interface.mac);
    let options = TestRunOptions {
        data_in: Some(&frame),
        attrs: TestRunAttrs::new().xdp_live_frames(1),
        ..TestRunOptions::new()
    };
    sender.test_run(options).map_err(Trouble::Run)?;
    let map = object.map("PROOF").ok_or(Trouble::Missing("PROOF"))?;
    Ok(Array::<_, maps::Proof>::try_from(map)?.get(&0, 0)?)
}

/// What the witness saw of one frame.
fn judge(seen: &maps::Proof) -> Proof {
    match (seen.calls, seen.sent) {
        (0, _) => Proof::Lost("the driver takes no frames to send".to_owned()),
        (_, 1..) => Proof::Leaves,
        _ if seen.error == 0 => Proof::Lost("the driver dropped a frame".to_owned()),
        _ => {
            let number = i32::try_from(seen.error.saturating_neg()).unwrap_or(0);
            let error = std::io::Error::from_raw_os_error(number);
            Proof::Lost(format!("the driver dropped a frame: {error}"))
        }
    }
}

fn frame(mac: [u8; 6]) -> Vec<u8> {
    let mut frame = [&mac[..], &mac, &ETHERTYPE].concat();
    frame.resize(FRAME, 0);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    // Input: what the witness saw. Output: what it proves.
    #[test]
    fn a_frame_leaves_where_the_driver_took_it() {
        let seen = |calls, sent, error| {
            judge(&maps::Proof { calls, sent, error, ..maps::Proof::default() })
        };
        assert_eq!(seen(1, 1, 0), Proof::Leaves);
        let Proof::Lost(why) = seen(1, 0, -6) else { panic!("it was dropped") };
        assert!(why.starts_with("the driver dropped a frame: No such device"), "{why}");
        assert!(matches!(seen(0, 0, 0), Proof::Lost(_)));
        assert_eq!(seen(1, 0, 0), Proof::Lost("the driver dropped a frame".to_owned()));
    }

    #[test]
    fn the_frame_is_to_ourselves() {
        let frame = frame([2, 0, 0, 0, 0, 7]);
        assert_eq!(frame.len(), FRAME);
        assert_eq!(frame[..14], [2, 0, 0, 0, 0, 7, 2, 0, 0, 0, 0, 7, 0x88, 0xb5]);
    }
}
