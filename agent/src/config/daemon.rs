//! The keys of `[agent]` that concern the process: its socket, its privileges, its log.

use rustix::thread::CapabilitySet;

use super::checked::{Daemon, SocketAccess};
use super::facts::{Account, Facts};
use super::reader::Section;
use crate::log;

/// What scripts may do where nothing is said: restart services, read and write other users' files,
/// act as other users.
pub(super) const USUAL: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID);

/// What is so where the section is left out.
pub(super) fn usual() -> Daemon {
    Daemon { socket: SocketAccess::default(), script_capabilities: Some(USUAL), log: None }
}

/// Reads these keys of the section.
pub(super) fn read(section: &Section<'_>, facts: &dyn Facts) -> Daemon {
    let mut daemon = usual();
    daemon.socket.owner = account(section, "socket_owner", Account::User, facts);
    daemon.socket.group = account(section, "socket_group", Account::Group, facts);
    // Whoever connects reads and writes: a bit without the other would let nobody in.
    let modes = [("0600", 0o600), ("0660", 0o660), ("0666", 0o666)];
    if let Some(at) = section.choice("socket_mode", &modes) {
        daemon.socket.mode = at.value;
    }
    if let Some(capabilities) = capabilities(section) {
        daemon.script_capabilities = capabilities;
    }
    let expected = "a level, or levels by target, such as \"info\" or \"info,rais::dns=debug\"";
    if let Some(at) = section.string("log", expected) {
        match log::filter(at.value) {
            Ok(_) => daemon.log = Some(at.value.to_owned()),
            Err(why) => section.document().mistake(at.offset, format!("`log`: {why}")),
        }
    }
    daemon
}

/// The id of the user or group that `key` names, or has as a number.
fn account(
    section: &Section<'_>,
    key: &'static str,
    kind: Account,
    facts: &dyn Facts,
) -> Option<u32> {
    let at = section.string(key, "a name, or a number, in quotes")?;
    // The highest number stands for "leave it as it is" in chown(2).
    if let Some(id) = at.value.parse().ok().filter(|&id: &u32| id < u32::MAX) {
        return Some(id);
    }
    match facts.account(kind, at.value) {
        Ok(id) => Some(id),
        Err(why) => {
            section.document().mistake(at.offset, format!("`{key}`: {why}"));
            None
        }
    }
}

/// `script_capabilities`: inner none for "all", outer none where nothing usable is said.
#[allow(clippy::option_option, reason = "one says nothing is there, the other that all is kept")]
fn capabilities(section: &Section<'_>) -> Option<Option<CapabilitySet>> {
    let key = "script_capabilities";
    let expected = "\"all\", or a list of capabilities such as [\"CAP_KILL\"]";
    let names = section.value(key, expected, |value| match value.as_str() {
        Some("all") => Some(None),
        Some(_) => None,
        None => value
            .as_array()?
            .iter()
            .map(|name| Some((name.get_ref().as_str()?.to_owned(), name.span().start)))
            .collect::<Option<Vec<_>>>()
            .map(Some),
    })?;
    let Some(names) = names.value else { return Some(None) };
    let mut set = CapabilitySet::empty();
    for (name, offset) in names {
        match name.strip_prefix("CAP_").and_then(CapabilitySet::from_name) {
            Some(one) => set |= one,
            None => section.document().mistake(
                offset,
                format!("`{key}`: there is no capability \"{name}\"; see capabilities(7)"),
            ),
        }
    }
    Some(Some(set))
}
