//! A zone file on this host, written whole, and a command that makes a name server read it.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::base::{RecordData, Serial};

use super::zone::{Zone, by_family, next_serial};
use super::{Backend, DnsError, Publishing, Wanted, soa};
use crate::clock;
use crate::config::checked::{self, NameService};
use crate::process::{self, Program};

/// Largest file that is looked at for its serial number.
const MOST_FILE: u64 = 4 << 20;

/// First line of the file.
const HEAD: &str = "; Written by rais, which replaces all of it. Do not edit.\n";

/// How often to ask whether the name server has the new zone, and for how long in all.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const TAKEN_LIMIT: Duration = Duration::from_secs(5);

/// The file.
pub struct ZoneFile {
    told: checked::ZoneFile,
    blank: Zone,
    /// The serial number that the name server was last told to read.
    read: Option<Serial>,
}

impl ZoneFile {
    /// Nothing is looked at or written yet.
    #[must_use]
    pub fn new(service: &NameService, told: checked::ZoneFile) -> Self {
        let NameService { zone: apex, name, ttl, .. } = service.clone();
        let nameservers = told.nameservers.clone();
        let (v4, v6, serial) = (Vec::new(), Vec::new(), Serial(0));
        let blank = Zone { apex, name, ttl, nameservers, serial, v4, v6 };
        Self { told, blank, read: None }
    }

    async fn bring_about(&mut self, zone: Zone) -> Result<Option<u32>, DnsError> {
        let path = self.told.file.clone();
        let wall_seconds = clock::wall_nanos() / 1_000_000_000;
        // Disks may be slow.
        let written =
            tokio::task::spawn_blocking(move || bring_up_to_date(&path, zone, wall_seconds));
        let failed = |source| DnsError::File { path: self.told.file.clone(), source };
        let serial = match written.await {
            Ok(serial) => serial.map_err(failed)?,
            Err(ended) => return Err(failed(io::Error::other(ended))),
        };
        if self.read != Some(serial) {
            if let Some(command) = self.told.reload.clone() {
                let program = Program::of_command(command, "dns-changed");
                process::run(&program, self.told.reload_timeout).await?;
            }
            if let Some(server) = self.told.server {
                self.taken(server, serial).await?;
            }
            self.read = Some(serial);
        }
        Ok(Some(serial.into_int()))
    }

    /// Waits until the name server has the zone: many a command says that all is well and means
    /// that it was asked for.
    async fn taken(&self, server: SocketAddr, serial: Serial) -> Result<(), DnsError> {
        let taken = async {
            while soa::serial(server, &self.blank.apex).await != Some(serial) {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let taken = tokio::time::timeout(TAKEN_LIMIT, taken).await;
        taken.map_err(|_late| DnsError::NotTaken {
            server,
            zone: self.blank.apex.clone(),
            serial: serial.into_int(),
        })
    }
}

impl Backend for ZoneFile {
    fn publish<'a>(&'a mut self, wanted: &'a Wanted) -> Publishing<'a> {
        Box::pin(async move {
            match wanted {
                Wanted::Unknown => Ok(None),
                Wanted::Addresses(addresses) if addresses.is_empty() => Err(DnsError::NoAddress),
                Wanted::Addresses(addresses) => {
                    let (v4, v6) = by_family(addresses);
                    self.bring_about(Zone { v4, v6, ..self.blank.clone() }).await
                }
            }
        })
    }
}

/// Writes the zone, unless the file says the same already. The serial number that it has.
fn bring_up_to_date(path: &Path, zone: Zone, wall_seconds: u64) -> io::Result<Serial> {
    let before = present(path)?;
    let last = before.as_deref().and_then(serial_of);
    if let Some(last) = last
        && before.as_deref() == Some(&text(&Zone { serial: last, ..zone.clone() }))
    {
        return Ok(last);
    }
    let serial = next_serial(last, wall_seconds);
    replace(path, &text(&Zone { serial, ..zone }))?;
    Ok(serial)
}

/// What is in the file; none where there is none.
fn present(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MOST_FILE).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// The serial number in a zone file, whoever wrote it: the third word after `SOA`.
fn serial_of(text: &str) -> Option<Serial> {
    let lines = text.lines().map(|line| line.split(';').next().unwrap_or_default());
    let mut words =
        lines.flat_map(|line| line.split(|c: char| c.is_whitespace() || "()".contains(c)));
    words.find(|word| word.eq_ignore_ascii_case("SOA"))?;
    let number = words.filter(|word| !word.is_empty()).nth(2)?;
    number.parse().ok().map(Serial)
}

/// The whole file.
fn text(zone: &Zone) -> String {
    let (apex, ttl) = (zone.apex.fmt_with_dot(), zone.ttl);
    let mut text = format!("{HEAD}{apex} {ttl} IN SOA {}\n", zone.soa());
    for (owner, data) in zone.records() {
        let owner = owner.fmt_with_dot();
        // Writing to a String does not fail.
        writeln!(text, "{owner} {ttl} IN {} {data}", data.rtype()).ok();
    }
    text
}

/// Puts a new file in the place of the old one, at one stroke: who opens it meanwhile, or after a
/// crash, gets all of one of them.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let beside = |suffix: &str| {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(suffix);
        path.with_file_name(name)
    };
    let fresh: PathBuf = beside(".rais-new");
    // What an agent that was killed left.
    match fs::remove_file(&fresh) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&fresh)?;
    // Name servers run as users of their own, whatever this process leaves out for its files.
    file.set_permissions(Permissions::from_mode(0o644))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::config::checked::Delegate;

    fn zone(addresses: &[&str]) -> Zone {
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let (v4, v6) = by_family(&addresses);
        let name = |text: &str| text.parse().unwrap();
        let nameservers = vec![
            Delegate { name: name("ns.a.b"), addresses: vec![[192, 0, 2, 53].into()] },
            Delegate { name: name("ns.c"), addresses: Vec::new() },
        ];
        let (apex, name) = (name("a.b"), name("www.a.b"));
        Zone { apex, name, ttl: 5, nameservers, serial: Serial(7), v4, v6 }
    }

    #[test]
    fn a_zone_as_a_file() {
        assert_eq!(
            text(&zone(&["10.0.0.1", "2001:db8::1"])),
            "; Written by rais, which replaces all of it. Do not edit.\n\
             a.b. 5 IN SOA ns.a.b. hostmaster.a.b. 7 60 15 86400 5\n\
             a.b. 5 IN NS ns.a.b.\n\
             a.b. 5 IN NS ns.c.\n\
             ns.a.b. 5 IN A 192.0.2.53\n\
             www.a.b. 5 IN A 10.0.0.1\n\
             www.a.b. 5 IN AAAA 2001:db8::1\n"
        );
    }

    #[test]
    fn serial_numbers_are_found_in_others_files() {
        let usual = "$ORIGIN a.b.\n; SOA of old 1 2 3\n@ 3600 IN soa ns host (\n  2024010101 ; \
                     serial\n  60 15 86400 5 )\n  NS ns\n";
        assert_eq!(serial_of(usual), Some(Serial(2_024_010_101)));
        assert_eq!(serial_of(&text(&zone(&[]))), Some(Serial(7)));
        for none in ["", "a.b. IN SOA ns host", "SOA a b c", "; SOA a b 1", "a SOA a b 4294967296"]
        {
            assert_eq!(serial_of(none), None, "{none}");
        }
    }

    #[test]
    fn files_are_replaced_where_they_differ_and_serials_go_on() {
        let dir = std::env::temp_dir().join(format!("rais-zone-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("a.b.zone");
        let write = |addresses: &[&str], now| bring_up_to_date(&path, zone(addresses), now);
        assert_eq!(write(&["10.0.0.1"], 100).unwrap(), Serial(100));
        assert_eq!(write(&["10.0.0.1"], 200).unwrap(), Serial(100));
        // The clock may go back; the number does not.
        assert_eq!(write(&["10.0.0.2"], 50).unwrap(), Serial(101));
        fs::write(dir.join("a.b.zone.rais-new"), "left behind").unwrap();
        fs::write(&path, "a.b. IN SOA x y 4294967295 1 1 1 1\n").unwrap();
        assert_eq!(write(&["10.0.0.2"], 50).unwrap(), Serial(50));
        let found = fs::read_to_string(&path).unwrap();
        assert!(found.contains(" 50 60 15 ") && found.contains("A 10.0.0.2"), "{found}");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        write(&["10.0.0.1"], 100).unwrap_err();
        fs::remove_dir_all(&dir).unwrap();
    }
}
