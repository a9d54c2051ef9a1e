//! Configuration files, on a machine that is always the same.

use std::io;
use std::net::IpAddr;
use std::path::Path;

use rais::config::checked::{Interface, PressureResource};
use rais::config::facts::{Account, Facts, SecretFile};
use rais::config::{MAX_GROUPS, check};
use rais::group::Group;
use rais_common::time::Time;
use tokio_rustls::rustls::pki_types::CertificateDer;

/// Two interfaces, a key file that is as it should be and one that is not.
struct Machine;

impl Facts for Machine {
    fn interface(&self, name: &str) -> Result<Interface, String> {
        let (index, address) = match name {
            "eth0" => (2, IpAddr::from([10, 77, 0, 1])),
            "eth1" => (3, IpAddr::from([10, 78, 0, 1])),
            _ => return Err("there is no such interface".to_owned()),
        };
        let mac = [2, 0, 0, 0, 0, 1];
        Ok(Interface { name: name.to_owned(), index, mac, addresses: vec![address] })
    }

    fn serves(&self, interface: &Interface) -> Result<(), String> {
        if interface.index == 2 { Ok(()) } else { Err("belongs to another".to_owned()) }
    }

    fn speed(&self, name: &str) -> Option<u64> {
        (name == "eth1").then_some(125_000_000)
    }

    fn secret(&self, path: &Path) -> io::Result<SecretFile> {
        match path.to_str() {
            Some("/key") => Ok(SecretFile { mode: 0o600, owner: 0, text: "0f".repeat(32) }),
            Some("/open") => Ok(SecretFile { mode: 0o644, owner: 7, text: "no key".to_owned() }),
            Some(_) | None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn pressure(&self, resource: PressureResource) -> io::Result<()> {
        match resource {
            PressureResource::Cpu | PressureResource::Memory => Ok(()),
            PressureResource::Io => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn program(&self, path: &Path) -> Result<(), String> {
        if path.starts_with("/bin") { Ok(()) } else { Err("is not there".to_owned()) }
    }

    fn certificates(&self, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
        if path.starts_with("/bin") { Ok(Vec::new()) } else { Err("is not there".to_owned()) }
    }

    fn answering_arp(&self) -> Vec<String> {
        Vec::new()
    }

    fn user(&self) -> u32 {
        0
    }

    fn account(&self, _kind: Account, name: &str) -> Result<u32, String> {
        if name == "rais" { Ok(990) } else { Err("is not there".to_owned()) }
    }
}

/// A file: what is wrong with it, each with a place in the file, or a configuration that groups
/// can be made of.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let path = Path::new("rais.toml");
    match check(path, text, &Machine) {
        Ok(config) => {
            assert!(!config.groups.is_empty() && config.groups.len() <= MAX_GROUPS);
            for checked in config.groups {
                let settings = checked.settings;
                assert!(!settings.heartbeat.is_zero() && settings.lease < settings.timeout);
                assert!(settings.heartbeat <= settings.lease, "{settings:?}");
                assert!(settings.quorum > 0 && !settings.control_addresses.is_empty());
                let now = Time::from_nanos(1);
                assert!(Group::new(settings, 1, now).next_deadline() >= now);
            }
        }
        Err(mistakes) => {
            assert!(!mistakes.list().is_empty(), "refused without a reason");
            let lines = text.lines().count() + 1;
            for mistake in mistakes.list() {
                let (line, column) = mistake.position.unwrap_or((1, 1));
                assert!((1..=lines).contains(&line) && column > 0, "{mistake:?} of {lines} lines");
                assert!(!mistake.message.is_empty());
            }
            assert!(mistakes.to_string().lines().count() >= mistakes.list().len());
        }
    }
}
