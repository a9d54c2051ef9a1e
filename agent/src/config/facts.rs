//! What a configuration is checked against: this machine's interfaces and files.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::if_nametoindex;
use nix::unistd::{Group, User};
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};

use super::checked::{Interface, PressureResource};
use crate::addresses;

/// A key file is a line and perhaps a few of comment.
const MAX_KEY_FILE: u64 = 64 << 10;

/// All the authorities a system trusts are a few hundred KiB.
const MAX_CERTIFICATES: u64 = 4 << 20;

/// A file that holds a secret.
#[derive(Clone, Debug)]
pub struct SecretFile {
    /// Permission bits, the lower twelve.
    pub mode: u32,
    /// User id of the owner.
    pub owner: u32,
    /// What is in it, at most 64 KiB.
    pub text: String,
}

/// Whether a user or a group is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// A user.
    User,
    /// A group of users.
    Group,
}

/// Facts about the machine.
pub trait Facts {
    /// The interface called `name`, if there is one.
    ///
    /// # Errors
    /// Why it cannot be used, in words: it is not there, or has no hardware address.
    fn interface(&self, name: &str) -> Result<Interface, String>;

    /// Whether clients can be served on this interface: what comes in there is its own.
    ///
    /// # Errors
    /// Why not, in words: another one takes it all in.
    fn serves(&self, interface: &Interface) -> Result<(), String>;

    /// The interface's speed in bytes a second, where it is known.
    fn speed(&self, name: &str) -> Option<u64>;

    /// Reads a key file.
    ///
    /// # Errors
    /// What the system says.
    fn secret(&self, path: &Path) -> io::Result<SecretFile>;

    /// Whether the kernel measures the pressure on a resource.
    ///
    /// # Errors
    /// What the system says instead.
    fn pressure(&self, resource: PressureResource) -> io::Result<()>;

    /// Whether `path` is a program that can be run.
    ///
    /// # Errors
    /// Why not, in words.
    fn program(&self, path: &Path) -> Result<(), String>;

    /// The certificates in a PEM file, at least one.
    ///
    /// # Errors
    /// Why there are none to be had, in words.
    fn certificates(&self, path: &Path) -> Result<Vec<CertificateDer<'static>>, String>;

    /// The interfaces on which the kernel answers ARP for any address of this host.
    fn answering_arp(&self) -> Vec<String>;

    /// The effective user id of this process.
    fn user(&self) -> u32;

    /// The id of the user or group of this name.
    ///
    /// # Errors
    /// Why there is none, in words.
    fn account(&self, kind: Account, name: &str) -> Result<u32, String>;
}

/// The machine this process runs on.
#[derive(Clone, Copy, Debug)]
pub struct Machine;

impl Facts for Machine {
    fn interface(&self, name: &str) -> Result<Interface, String> {
        let index = if_nametoindex(name).map_err(|errno| {
            if errno == nix::Error::ENODEV {
                format!("there is no interface `{name}`; there are: {}", names().join(", "))
            } else {
                format!("interface `{name}`: {}", errno.desc())
            }
        })?;
        let all = getifaddrs().map_err(|errno| format!("interfaces: {}", errno.desc()))?;
        let ours = addresses::ours_on(index).map_err(|e| format!("interface `{name}`: {e}"))?;
        let ours = BTreeSet::from_iter(ours);
        let mut mac = None;
        let mut addresses = Vec::new();
        for entry in all.filter(|entry| entry.interface_name == name) {
            mac = mac.or_else(|| hardware_address(&entry));
            addresses.extend(ip_address(&entry).filter(|address| !ours.contains(address)));
        }
        addresses.sort_by_key(|address| match address {
            IpAddr::V4(_) => 0,
            IpAddr::V6(v6) if !v6.is_unicast_link_local() => 1,
            IpAddr::V6(_) => 2,
        });
        let mac = mac.ok_or_else(|| format!("interface `{name}` has no hardware address"))?;
        Ok(Interface { name: name.to_owned(), index, mac, addresses })
    }

    fn serves(&self, interface: &Interface) -> Result<(), String> {
        super::enslaved::why(&interface.name, interface.index).map_or(Ok(()), Err)
    }

    fn speed(&self, name: &str) -> Option<u64> {
        // In Mbit/s; an error or -1 where the driver does not know (sysfs-class-net).
        let text = fs::read_to_string(Path::new("/sys/class/net").join(name).join("speed")).ok()?;
        let megabits: u64 = text.trim().parse().ok()?;
        megabits.checked_mul(1_000_000 / 8).filter(|speed| *speed > 0)
    }

    fn secret(&self, path: &Path) -> io::Result<SecretFile> {
        let file = File::open(path)?;
        let about = file.metadata()?;
        if !about.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        let mut text = String::new();
        file.take(MAX_KEY_FILE).read_to_string(&mut text)?;
        Ok(SecretFile { mode: about.mode() & 0o7777, owner: about.uid(), text })
    }

    fn pressure(&self, resource: PressureResource) -> io::Result<()> {
        // With psi=0 the file may be there and cannot be read.
        fs::read(resource.file()).map(drop)
    }

    fn program(&self, path: &Path) -> Result<(), String> {
        let about = fs::metadata(path).map_err(|e| e.to_string())?;
        if !about.is_file() {
            return Err("not a file".to_owned());
        }
        if about.mode() & 0o111 == 0 {
            return Err(format!("not executable; run `chmod +x {}`", path.display()));
        }
        Ok(())
    }

    fn certificates(&self, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
        if !fs::metadata(path).map_err(|e| e.to_string())?.is_file() {
            return Err("not a regular file".to_owned());
        }
        let mut text = Vec::new();
        let file = File::open(path).map_err(|e| e.to_string())?;
        file.take(MAX_CERTIFICATES).read_to_end(&mut text).map_err(|e| e.to_string())?;
        let mut authorities = RootCertStore::empty();
        let mut certificates = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(&text) {
            let certificate = certificate.map_err(|e| e.to_string())?;
            authorities.add(certificate.clone()).map_err(|e| e.to_string())?;
            certificates.push(certificate);
        }
        if certificates.is_empty() {
            return Err("no certificate in it".to_owned());
        }
        Ok(certificates)
    }

    fn answering_arp(&self) -> Vec<String> {
        super::arp_ignore::answering(&[])
    }

    fn user(&self) -> u32 {
        nix::unistd::geteuid().as_raw()
    }

    fn account(&self, kind: Account, name: &str) -> Result<u32, String> {
        let (word, make, found) = match kind {
            Account::User => {
                let found = User::from_name(name).map(|found| found.map(|user| user.uid.as_raw()));
                ("user", "useradd", found)
            }
            Account::Group => {
                let found = Group::from_name(name).map(|found| found.map(|all| all.gid.as_raw()));
                ("group", "groupadd", found)
            }
        };
        match found {
            Ok(Some(id)) => Ok(id),
            Ok(None) => Err(format!(
                "there is no {word} `{name}` on this machine; name another, or make it with \
                 `{make} --system {name}`"
            )),
            Err(errno) => Err(format!("the {word} `{name}` cannot be looked up: {}", errno.desc())),
        }
    }
}

/// The names of all interfaces.
fn names() -> Vec<String> {
    let mut names: Vec<_> =
        getifaddrs().into_iter().flatten().map(|entry| entry.interface_name).collect();
    names.sort();
    names.dedup();
    names
}

fn hardware_address(entry: &InterfaceAddress) -> Option<[u8; 6]> {
    entry.address?.as_link_addr()?.addr()
}

fn ip_address(entry: &InterfaceAddress) -> Option<IpAddr> {
    let address = entry.address?;
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(v4.ip().into());
    }
    address.as_sockaddr_in6().map(|v6| v6.ip().into())
}
