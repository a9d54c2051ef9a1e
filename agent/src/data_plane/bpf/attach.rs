//! Bringing the program onto an interface, and keeping it there across restarts.
//!
//! The link is pinned, so it outlives the agent: the leases in the maps go on being enforced. A
//! restarted agent replaces the program in the link that is there and never detaches, since
//! attaching can bounce a real link for seconds.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::XdpLink;
use aya::programs::{Xdp, XdpMode as AyaMode, loaded_programs};
use nix::libc;

use super::BpfPlane;
use super::error::{BpfError, errno};
use super::interface::{self, Kind, Mode, Running};
use super::packet_log::PacketLog;
use super::proof::{self, Proof};
use crate::causes::in_words;
use crate::config::checked::{Interface, XdpMode};

/// The program on an interface.
#[derive(Debug)]
pub struct Attachment {
    /// The mode in force. It may differ from the one asked for where the link was adopted.
    pub mode: Mode,
    /// Why it is not the native one, or what is not known about that, where the mode was for the
    /// agent to choose.
    pub why: Option<String>,
    /// The link was there already; the program in it was replaced.
    pub adopted: bool,
    /// What the program logs, where that is asked for.
    pub log: Option<PacketLog>,
}

/// Its `XDP_TX` is not its `ndo_xdp_xmit`, and drops silently.
const VETH: &str = "a veth sends replies in native mode only where its other end runs an XDP program, \
                    which cannot be seen from here";

/// The index of the interface is part of the maps' keys.
const BOND: &str = "a bond has its members run the program in native mode, and they are not the \
                    interface that the addresses are on";

/// Beginning of the names of link pins.
pub(super) const LINK_PREFIX: &str = "link-";

impl BpfPlane {
    /// Brings the program onto `interface`, or up to date where this agent's is there already.
    /// Blocks for as long as the driver takes. The program stays when the agent ends, until
    /// [`clean`](super::clean).
    ///
    /// # Errors
    /// [`BpfError::Foreign`] where another program is in the way; [`BpfError::Mode`] where the
    /// driver cannot; no permission; no BPF. Nothing is attached that was not before.
    pub fn attach(&self, interface: &Interface, mode: XdpMode) -> Result<Attachment, BpfError> {
        let mut object = self.load()?;
        let name = &interface.name;
        let log = self.log_packets.then(|| PacketLog::of(&mut object, name)).transpose()?;
        let program = xdp_program(&mut object)?;
        program.load().map_err(not_loaded)?;

        let state = look_at(interface)?;
        let pin = self.link_pin(name);
        for &running in &state.running {
            if let Some(found) = self.pin_of(running.program)? {
                if (state.kind, running.mode) == (Kind::Bond, Mode::Native) {
                    return Err(native_bond(name, "; `rais clean` takes off what is there"));
                }
                adopt(program, &found, &pin)?;
                let chosen = mode == XdpMode::Auto && running.mode == Mode::Generic;
                let why = known(state.kind).unwrap_or("the mode is that of an earlier agent");
                let why = chosen.then(|| why.to_owned());
                return Ok(Attachment { mode: running.mode, why, adopted: true, log });
            }
        }
        if let Some(running) = state.running.first() {
            return Err(foreign(name, *running));
        }
        // Whatever is pinned there belongs to an interface that is gone.
        remove_if_there(&pin)?;
        let (mode, why) = match mode {
            XdpMode::Auto => attach_best(program, interface, state.kind, &pin)?,
            XdpMode::Native if state.kind == Kind::Bond => return Err(native_bond(name, "")),
            XdpMode::Native => (attach_in(program, interface, Mode::Native, &pin)?, None),
            XdpMode::Generic => (attach_in(program, interface, Mode::Generic, &pin)?, None),
        };
        Ok(Attachment { mode, why, adopted: false, log })
    }

    /// See [`refuse_foreign`](Self::refuse_foreign).
    pub(super) fn refuse_foreign_on(&self, interface: &Interface) -> Result<(), BpfError> {
        for &running in &look_at(interface)?.running {
            let ours = match fs::metadata(&self.dir) {
                Ok(_) => self.pin_of(running.program)?.is_some(),
                // Without permission there is no telling whose it is.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    let what = format!("looking into {}", self.dir.display());
                    return Err(BpfError::new(what, error));
                }
                Err(_) => false,
            };
            if !ours {
                return Err(foreign(&interface.name, running));
            }
        }
        Ok(())
    }

    /// Takes the program off `interface`, which [`attach`](Self::attach) newly brought there.
    ///
    /// # Errors
    /// Its pin cannot be removed: it stays.
    pub fn detach(&self, interface: &Interface) -> Result<(), BpfError> {
        remove_if_there(&self.link_pin(&interface.name))
    }

    /// Where the link of an interface is pinned. bpffs reserves the dot, an interface name cannot
    /// have a colon.
    fn link_pin(&self, interface: &str) -> PathBuf {
        self.dir.join(format!("{LINK_PREFIX}{}", interface.replace('.', ":")))
    }

    /// The pinned link that holds this program: each is loaded for one link only.
    fn pin_of(&self, program: u32) -> Result<Option<PathBuf>, BpfError> {
        for path in link_pins(&self.dir)? {
            if program_of(&path)? == program {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }
}

/// What the kernel says about an interface.
fn look_at(interface: &Interface) -> Result<interface::State, BpfError> {
    let name = &interface.name;
    interface::state(interface.index).map_err(|error| match error.raw_os_error() {
        Some(libc::ENODEV) => BpfError::NoInterface { interface: name.clone() },
        _ => BpfError::new(format!("looking at {name}"), error),
    })
}

/// The pinned links in a directory.
pub(super) fn link_pins(dir: &Path) -> Result<Vec<PathBuf>, BpfError> {
    let fail = |error| BpfError::new(format!("reading {}", dir.display()), error);
    let mut pins = Vec::new();
    for entry in fs::read_dir(dir).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let name = path.file_name().and_then(OsStr::to_str);
        if name.is_some_and(|name| name.starts_with(LINK_PREFIX)) {
            pins.push(path);
        }
    }
    pins.sort();
    Ok(pins)
}

/// The id of the program in a pinned link.
pub(super) fn program_of(path: &Path) -> Result<u32, BpfError> {
    let info = open_link(path)?.info();
    let info = info.map_err(|error| BpfError::new(format!("reading {}", path.display()), error))?;
    Ok(info.program_id())
}

/// Opens a pinned link.
fn open_link(path: &Path) -> Result<FdLink, BpfError> {
    PinnedLink::from_pin(path)
        .map(FdLink::from)
        .map_err(|error| BpfError::new(format!("opening {}", path.display()), error))
}

/// The program in the object.
pub(super) fn xdp_program(object: &mut aya::Ebpf) -> Result<&mut Xdp, BpfError> {
    let program = object.program_mut("rais_xdp").ok_or(aya::programs::ProgramError::NotLoaded);
    program
        .and_then(TryInto::try_into)
        .map_err(|error| BpfError::new("finding `rais_xdp` in the object", error))
}

/// The error for a program the kernel did not take. Its verifier says EACCES where it refuses a
/// program, which is no lack of privilege.
fn not_loaded(error: aya::programs::ProgramError) -> BpfError {
    let what = "loading the XDP program into the kernel".to_owned();
    match errno(&error) {
        Some(libc::EACCES) => BpfError::Other { what, source: Box::new(error) },
        _ => BpfError::new(what, error),
    }
}

/// Replaces the program in a pinned link (`bpf_link_update`). A renamed interface has its link
/// under its old name; the pin follows.
fn adopt(program: &mut Xdp, found: &Path, pin: &Path) -> Result<(), BpfError> {
    let what = || format!("replacing the program in {}", found.display());
    let link = XdpLink::try_from(open_link(found)?).map_err(|e| BpfError::new(what(), e))?;
    let id = program.attach_to_link(link).map_err(|e| BpfError::new(what(), e))?;
    // Closes our handle on the link; the pin holds it.
    drop(program.take_link(id).map_err(|e| BpfError::new(what(), e))?);
    if found != pin {
        fs::rename(found, pin).map_err(|e| BpfError::new(what(), e))?;
    }
    Ok(())
}

/// Attaches in native mode if what the program sends back leaves then, else in generic mode. Says
/// in which, and why it is not the native one.
fn attach_best(
    program: &mut Xdp,
    interface: &Interface,
    kind: Kind,
    pin: &Path,
) -> Result<(Mode, Option<String>), BpfError> {
    if let Some(why) = known(kind) {
        let mode = attach_in(program, interface, Mode::Generic, pin)?;
        return Ok((mode, Some(why.to_owned())));
    }
    let why = match link_in(program, interface, Mode::Native) {
        Ok(link) => match proof::of(interface) {
            Proof::Leaves => return Ok((keep(link, Mode::Native, interface, pin)?, None)),
            Proof::Unknown(why) => {
                let why = format!("not proved that replies leave: {why}");
                return Ok((keep(link, Mode::Native, interface, pin)?, Some(why)));
            }
            // Dropping the link takes the program off.
            Proof::Lost(why) => format!("no replies would leave in native mode: {why}"),
        },
        Err(BpfError::Mode { source, .. } | BpfError::Other { source, .. }) => {
            format!("there is no native mode: {}", in_words(source.as_ref()))
        }
        Err(other) => return Err(other),
    };
    Ok((attach_in(program, interface, Mode::Generic, pin)?, Some(why)))
}

/// Why native mode is not even tried on an interface of this kind.
const fn known(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Veth => Some(VETH),
        Kind::Bond => Some(BOND),
        Kind::Other => None,
    }
}

/// The error for native mode on a bond: the program would find no address there and let everything
/// through to the kernel, whatever has become of the lease.
fn native_bond(interface: &str, more: &str) -> BpfError {
    BpfError::Mode {
        interface: interface.to_owned(),
        mode: Mode::Native.word(),
        source: format!("{BOND}{more}").into(),
    }
}

/// Attaches in one mode, which it says.
fn attach_in(
    program: &mut Xdp,
    interface: &Interface,
    mode: Mode,
    pin: &Path,
) -> Result<Mode, BpfError> {
    let link = link_in(program, interface, mode)?;
    keep(link, mode, interface, pin)
}

fn attaching(interface: &Interface, mode: Mode) -> String {
    format!("attaching to {} in {} mode", interface.name, mode.word())
}

/// Attaches in one mode, for as long as the link is held.
fn link_in(program: &mut Xdp, interface: &Interface, mode: Mode) -> Result<FdLink, BpfError> {
    let name = &interface.name;
    let what = || attaching(interface, mode);
    let flag = if mode == Mode::Generic { AyaMode::Skb } else { AyaMode::Driver };
    let id = match program.attach_to_if_index(interface.index, flag) {
        Ok(id) => id,
        Err(error) => {
            return Err(match errno(&error) {
                Some(libc::EINVAL | libc::EOPNOTSUPP) => BpfError::Mode {
                    interface: name.clone(),
                    mode: mode.word(),
                    source: Box::new(error),
                },
                Some(libc::ENODEV) => BpfError::NoInterface { interface: name.clone() },
                // Somebody was quicker than we were.
                Some(libc::EBUSY | libc::EEXIST) => in_the_way(interface, what(), error),
                _ => BpfError::new(what(), error),
            });
        }
    };
    let link = program.take_link(id).map_err(|e| BpfError::new(what(), e))?;
    // Fails where the kernel is too old for links; dropping the link detaches.
    FdLink::try_from(link).map_err(|e| BpfError::new(what(), e))
}

/// Pins a link, so that it stays.
fn keep(link: FdLink, mode: Mode, interface: &Interface, pin: &Path) -> Result<Mode, BpfError> {
    let pinned = link.pin(pin).map_err(|e| BpfError::new(attaching(interface, mode), e))?;
    drop(pinned);
    Ok(mode)
}

/// The error for an interface that turned out to be taken.
fn in_the_way(interface: &Interface, what: String, error: aya::programs::ProgramError) -> BpfError {
    let running = interface::state(interface.index).ok();
    match running.and_then(|state| state.running.first().copied()) {
        Some(running) => foreign(&interface.name, running),
        None => BpfError::new(what, error),
    }
}

/// The error for a program that is not ours.
fn foreign(interface: &str, running: Running) -> BpfError {
    let id = running.program;
    let info = loaded_programs().flatten().find(|program| program.id() == id);
    let name = info.as_ref().and_then(|info| info.name_as_str()).unwrap_or("?");
    BpfError::Foreign { interface: interface.to_owned(), program: name.to_owned(), id }
}

/// Removes a pin, where there is one.
fn remove_if_there(path: &Path) -> Result<(), BpfError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(BpfError::new(format!("removing {}", path.display()), error))
        }
        _ => Ok(()),
    }
}
