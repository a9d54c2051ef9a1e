//! A systemd of one's own: process 1 of a few namespaces, on a host of a bed, with the files this
//! project installs in their places. Nothing of it reaches the machine's own service manager.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::netns::{Host, binary, unit};
use crate::wait;

/// How long systemd may take to start or to stop something.
const LIMIT: Duration = Duration::from_secs(20);

/// Units of the machine that are used as they are.
const UNITS: [&str; 3] =
    ["systemd-journald.service", "systemd-journald.socket", "systemd-journald-dev-log.socket"];

/// Targets that others are ordered by; here they bring nothing else along.
const TARGETS: [&str; 7] = [
    "sysinit.target",
    "basic.target",
    "sockets.target",
    "shutdown.target",
    "local-fs.target",
    "network.target",
    "network-online.target",
];

/// What it starts.
const BOOTED: &str = "rais-test.target";

/// Becomes process 1. Arguments: the directory of the bed, that of the files, the place of the
/// bpffs, where cgroups are to be seen.
const BOOT: &str = r#"
set -e
bed=$1 files=$2 bpf=$3
mount --make-rprivate /
mount -t proc proc /proc
exec 9<"$bed"
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p "$bed"
mount --no-canonicalize --rbind /proc/self/fd/9 "$bed"
exec 9<&-
mount --bind "$bpf" /sys/fs/bpf
for place in /etc /usr/sbin; do
    mkdir -p "$files/work$place"
    mount -t overlay overlay \
        -o "lowerdir=$place,upperdir=$files$place,workdir=$files/work$place" "$place"
done
umount -l /sys/fs/cgroup || true
mount -t cgroup2 none /sys/fs/cgroup
exec env -i container=rais PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    SYSTEMD_UNIT_PATH=/etc/rais/units SYSTEMD_GENERATOR_PATH=/nonexistent \
    /lib/systemd/systemd --unit=rais-test.target --log-target=console --show-status=0
"#;

/// A running systemd; it and all its services end when this is dropped.
#[derive(Debug)]
pub struct Systemd {
    child: Child,
    /// Its process 1, as this process sees it.
    init: u32,
    cgroup: PathBuf,
    log: PathBuf,
}

impl Systemd {
    /// Starts one on `host`, with the project's unit and `config` as `/etc/rais/rais.toml`.
    /// `dropin` is added to the unit.
    ///
    /// # Errors
    /// systemd or what it needs is missing.
    pub fn start(host: &Host, bed: &Path, config: &str, dropin: &str) -> Result<Self> {
        let files = bed.join("systemd").join(host.name());
        fs::create_dir_all(&files)?;
        // Overlays want a file system that is none itself.
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "mode=755", "tmpfs"]).arg(&files))?;
        lay_out(&files, config, dropin)?;
        fs::create_dir_all(host.bpf_dir())?;
        let cgroup = cgroups()?.join(format!("rais-{}-{}", std::process::id(), host.name()));
        fs::create_dir(&cgroup).with_context(|| format!("making {}", cgroup.display()))?;
        let log = bed.join(format!("systemd-{}.log", host.name()));
        let output = fs::File::create(&log)?;
        let mut command = host.command("sh");
        // A cgroup namespace begins where the process is that makes it.
        command
            .args(["-c", "echo 0 > \"$1/cgroup.procs\" && shift && exec \"$@\"", "sh"])
            .arg(&cgroup)
            .args(["unshare", "--fork", "--kill-child", "--pid", "--mount", "--uts", "--ipc"])
            .args(["--cgroup", "sh", "-c", BOOT, "sh"])
            .args([bed, &files, host.bpf_dir()]);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().context("starting systemd")?;
        let mut systemd = Self { child, init: 0, cgroup, log };
        systemd.init = wait::until("systemd to start", LIMIT, || systemd.find_init())
            .with_context(|| systemd.log())?;
        Ok(systemd)
    }

    /// The one child of `unshare`, once it takes requests.
    fn find_init(&mut self) -> Result<Option<u32>> {
        if let Some(status) = self.child.try_wait()? {
            bail!("it ended: {status}: {}", self.log());
        }
        let own = self.child.id();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children"))?;
        let Some(init) = children.split_whitespace().next() else { return Ok(None) };
        let ready = Path::new("/proc").join(init).join("root/run/systemd/private").exists();
        Ok(if ready { Some(init.parse()?) } else { None })
    }

    /// What systemd itself said.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// A program beside systemd's services, not yet started.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init.to_string(), "--mount", "--pid", "--net", "--cgroup"]);
        command.arg("--").arg(program);
        command
    }

    /// `systemctl` with these arguments; its standard output, where it succeeds.
    ///
    /// # Errors
    /// It fails; with what the unit and systemd said.
    pub fn ctl(&self, arguments: &[&str]) -> Result<String> {
        let done = self.command("systemctl").args(arguments).output()?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            bail!("systemctl {arguments:?}: {said}\n{}\n{}", self.journal(), self.log());
        }
        Ok(String::from_utf8(done.stdout)?)
    }

    /// A property of the agent's unit.
    ///
    /// # Errors
    /// systemd does not answer.
    pub fn property(&self, name: &str) -> Result<String> {
        Ok(self.ctl(&["show", "--value", "--property", name, "rais.service"])?.trim().to_owned())
    }

    /// Waits until a property of the agent's unit is as wanted.
    ///
    /// # Errors
    /// It is not within some seconds.
    pub fn wait_property(&self, name: &str, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let mut last = String::new();
        wait::until(name, LIMIT, || {
            last = self.property(name)?;
            Ok(wanted(&last).then(|| last.clone()))
        })
        .with_context(|| format!("it is {last:?}\n{}\n{}", self.journal(), self.log()))
    }

    /// The process of the agent, as this process sees it.
    ///
    /// # Errors
    /// There is none.
    pub fn agent(&self) -> Result<u32> {
        let services = self.cgroup.join("system.slice/rais.service/cgroup.procs");
        for pid in fs::read_to_string(&services)?.split_whitespace() {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            let ended = fs::read_link(format!("/proc/{pid}/exe")).is_err();
            if name.trim() == "rais" && !ended {
                return Ok(pid.parse()?);
            }
        }
        bail!("no agent in {}", services.display())
    }

    /// The journal as text.
    #[must_use]
    pub fn journal(&self) -> String {
        let done = self.command("journalctl").args(["--no-pager", "-o", "cat"]).output();
        done.map_or_else(|e| e.to_string(), |done| String::from_utf8_lossy(&done.stdout).into())
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        // With process 1 everything in its namespace ends; the cgroups are empty soon after.
        wait::until("the cgroups to be empty", LIMIT, || {
            remove_cgroups(&self.cgroup);
            Ok((!self.cgroup.exists()).then_some(()))
        })
        .ok();
    }
}

/// What is in `/etc` and `/usr/sbin` besides what the machine has.
fn lay_out(files: &Path, config: &str, dropin: &str) -> Result<()> {
    let units = files.join("etc/rais/units");
    let sbin = files.join("usr/sbin");
    for dir in [&units, &units.join("rais.service.d"), &sbin] {
        fs::create_dir_all(dir)?;
    }
    fs::copy(unit(), units.join("rais.service"))?;
    fs::write(units.join("rais.service.d/test.conf"), dropin)?;
    for name in UNITS {
        fs::copy(Path::new("/lib/systemd/system").join(name), units.join(name))
            .with_context(|| format!("the unit {name}"))?;
    }
    for name in TARGETS {
        fs::write(units.join(name), "[Unit]\nDefaultDependencies=no\n")?;
    }
    fs::write(units.join(BOOTED), format!("[Unit]\nWants={}\n", UNITS.join(" ")))?;
    fs::copy(binary("rais")?, sbin.join("rais"))?;
    let config_file = files.join("etc/rais/rais.toml");
    fs::write(&config_file, config)?;
    fs::set_permissions(&config_file, fs::Permissions::from_mode(0o644))?;
    Ok(())
}

/// Where the machine's cgroups of version 2 are.
fn cgroups() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mut fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let found = fields.find(|fields| fields.get(2) == Some(&"cgroup2"));
    Ok(PathBuf::from(found.and_then(|f| f.get(1).copied()).context("no cgroup2 is mounted")?))
}

/// Removes a cgroup and those below it, as far as they are empty.
fn remove_cgroups(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_cgroups(&entry.path());
        }
    }
    fs::remove_dir(dir).ok();
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("running {command:?}"))?;
    if !status.success() {
        bail!("{command:?}: {status}");
    }
    Ok(())
}
