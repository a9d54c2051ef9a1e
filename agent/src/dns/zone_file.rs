//! A zone file on this host, written whole, and a command that makes a name server read it.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::base::{Name, RecordData, Serial};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::zone::{Zone, by_family, next_serial};
use super::{Backend, DnsError, Publishing, Wanted, soa};
use crate::clock;
use crate::config::checked::{self, NameService};
use crate::process::{self, ProcessError, Program};

/// Largest file that is looked at for its serial number.
const MOST_FILE: u64 = 4 << 20;

/// First line of the file.
const HEAD: &str = "; Written by rais, which replaces all of it. Do not edit.\n";

/// How often to ask whether the name server has the new zone, how long to wait for an answer, and
/// for how long to ask once the command has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const LOOK_LIMIT: Duration = Duration::from_secs(1);
const TAKEN_LIMIT: Duration = Duration::from_secs(5);

/// Least time from one file's modification time to the next one's. Name servers pass over a file
/// that is no younger than the one they have read, and some count in whole seconds.
const STEP: Duration = Duration::from_secs(1);

/// The file.
pub struct ZoneFile {
    told: checked::ZoneFile,
    blank: Zone,
    /// The serial number that the name server was last told to read.
    read: Option<Serial>,
    /// The command, which may go on after the name server has the zone.
    reloading: JoinSet<Result<(), ProcessError>>,
    /// Who is told that there is a new file; none before there is one.
    keeper: Option<watch::Sender<()>>,
}

impl ZoneFile {
    /// Nothing is looked at or written yet.
    #[must_use]
    pub fn new(service: &NameService, told: checked::ZoneFile) -> Self {
        let NameService { zone: apex, name, ttl, .. } = service.clone();
        let nameservers = told.nameservers.clone();
        let (v4, v6, serial) = (Vec::new(), Vec::new(), Serial(0));
        let blank = Zone { apex, name, ttl, nameservers, serial, v4, v6 };
        Self { told, blank, read: None, reloading: JoinSet::new(), keeper: None }
    }

    async fn bring_about(&mut self, zone: Zone) -> Result<Option<u32>, DnsError> {
        let path = self.told.file.clone();
        let begin = clock::now();
        let wall_seconds = clock::wall_nanos() / 1_000_000_000;
        // Disks may be slow.
        let written =
            tokio::task::spawn_blocking(move || bring_up_to_date(&path, zone, wall_seconds));
        let failed = |source| DnsError::File { path: self.told.file.clone(), source };
        let serial = match written.await {
            Ok(serial) => serial.map_err(failed)?,
            Err(ended) => return Err(failed(io::Error::other(ended))),
        };
        let written = clock::now();
        if self.read != Some(serial) {
            let path = &self.told.file;
            self.keeper.get_or_insert_with(|| keeper(path.clone())).send_replace(());
            self.reload(serial).await?;
            self.read = Some(serial);
            tracing::debug!(
                "{}: serial {serial} written in {:?}, read after another {:?}",
                self.told.file.display(),
                written.since(begin),
                clock::now().since(written)
            );
        }
        Ok(Some(serial.into_int()))
    }

    /// Has the name server read the file. It has when it says so, where it can be asked, and
    /// otherwise when the command has ended.
    async fn reload(&mut self, serial: Serial) -> Result<(), DnsError> {
        // One that still runs has done what it was for.
        self.reloading = JoinSet::new();
        if let Some(command) = self.told.reload.clone() {
            let (program, limit) =
                (Program::of_command(command, "dns-changed"), self.told.reload_timeout);
            self.reloading.spawn(async move { process::run(&program, limit).await.map(drop) });
        }
        let Some(server) = self.told.server else { return ended(&mut self.reloading).await };
        let taken = taken(server, &self.blank.apex, serial);
        tokio::pin!(taken);
        tokio::select! {
            () = &mut taken => return Ok(()),
            ended = ended(&mut self.reloading) => ended?,
        }
        // Many a command says that all is well and means that it was asked for.
        tokio::time::timeout(TAKEN_LIMIT, taken).await.map_err(|_late| DnsError::NotTaken {
            server,
            zone: self.blank.apex.clone(),
            serial: serial.into_int(),
        })
    }
}

/// Waits for the end of the command, if there is one.
async fn ended(reloading: &mut JoinSet<Result<(), ProcessError>>) -> Result<(), DnsError> {
    match reloading.join_next().await {
        Some(Ok(done)) => Ok(done?),
        // Nobody cancels it, and it does not panic.
        Some(Err(_)) | None => Ok(()),
    }
}

/// Waits until the name server has the zone.
async fn taken(server: SocketAddr, zone: &Name<Vec<u8>>, serial: Serial) {
    loop {
        let said = tokio::time::timeout(LOOK_LIMIT, soa::serial(server, zone)).await;
        if said == Ok(Some(serial)) {
            return;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Sees to it that each new file outlasts a crash of the machine, as soon as the disk is ready for
/// that. Nobody waits for it: a busy disk may take seconds. It ends when nobody can tell it more.
fn keeper(path: PathBuf) -> watch::Sender<()> {
    let (teller, mut told) = watch::channel(());
    tokio::spawn(async move {
        while told.changed().await.is_ok() {
            let file = path.clone();
            let kept = tokio::task::spawn_blocking(move || keep(&file)).await;
            if let Err(error) = kept.unwrap_or_else(|ended| Err(io::Error::other(ended))) {
                tracing::warn!("{} may not outlast a crash: {error}", path.display());
            }
        }
    });
    teller
}

/// Waits until the file, and that it is there, is on the disk.
fn keep(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()?;
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
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

/// Puts a new file in the place of the old one, at one stroke: who opens it meanwhile gets all of
/// one of them. The new one is the younger one, whatever the clock says.
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
    if let Ok(old) = fs::metadata(path) {
        let least = old.modified()? + STEP;
        if file.metadata()?.modified()? < least {
            file.set_modified(least)?;
        }
    }
    fs::rename(&fresh, path)
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

    // The old file's modification time, in seconds from now → the new one is younger, by a second at
    // least: name servers pass over it otherwise.
    #[test]
    fn each_file_is_younger_than_the_one_before_by_whole_seconds() {
        let dir = std::env::temp_dir().join(format!("rais-zone-age-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("a.b.zone");
        let modified = || fs::metadata(&path).unwrap().modified().unwrap();
        bring_up_to_date(&path, zone(&["10.0.0.1"]), 100).unwrap();
        let first = modified();
        for (round, offset) in [-3_600, 0, 0, 0, 3_600, 0].into_iter().enumerate() {
            let offset_by = Duration::from_secs(u64::from(i32::unsigned_abs(offset)));
            let old = match offset {
                0 => modified(),
                1.. => first + offset_by,
                _ => first - offset_by,
            };
            File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
            bring_up_to_date(&path, zone(&[["10.0.0.2", "10.0.0.1"][round % 2]]), 100).unwrap();
            let new = modified();
            assert!(new >= old + STEP, "round {round}: {old:?}, {new:?}");
            // The time it is, where that will do.
            assert!(offset >= 0 || new >= first, "round {round}: {first:?}, {new:?}");
        }
        fs::remove_dir_all(&dir).unwrap();
    }
}
