//! What another configuration means for an agent that runs: nothing, a change in place, or an end
//! and a new beginning. Computed before anything is touched.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Write as _};
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::checked::{
    AddressMode, Agent, Config, Daemon, Group, Interface, Scripts, Seal, SocketAccess, Test,
};
use super::duration::show;
use crate::group::{Balance, Failback, Placement, Role, Settings};

/// What a reload does. As JSON in the answer to `rais reload`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Keys of `[agent]` that change.
    pub agent: Vec<Change>,
    /// Each group, in the order of the new file; then those that are not in it any more.
    pub groups: Vec<GroupPlan>,
}

/// What a reload does with a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPlan {
    /// Its name.
    pub name: String,
    /// What happens to it.
    pub fate: Fate,
    /// The keys that change; of a group that is restarted, those that make it necessary first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<Change>,
}

/// What happens to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// Nothing.
    Unchanged,
    /// It goes on, with other settings.
    Changed,
    /// It releases everything, ends, and starts anew.
    Restarted,
    /// It starts.
    Added,
    /// It releases everything and ends.
    Removed,
}

/// A key that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The key, as in the file.
    pub key: String,
    /// From what to what, for people. Empty where that would be long, or a secret.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub how: String,
}

/// A running agent cannot get there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Impossible {
    /// Keys cannot change while it runs.
    #[error(
        "[agent]: {} cannot change while the agent runs; put {} back as it was, or restart the \
         agent",
        words(.0), if .0.len() == 1 { "it" } else { "each" }
    )]
    Frozen(Vec<Change>),
    /// What was put in place beforehand is taken away when the agent ends.
    #[error(
        "group `{group}`: with prearm it cannot be {} while the agent runs; leave it as it was, or \
         restart the agent", .fate.word()
    )]
    Armed {
        /// Its name.
        group: String,
        /// What would become of it.
        fate: Fate,
    },
    /// A group is to have what another one may not have given up yet.
    #[error(
        "group `{to}`: {address} is still an address of group `{from}`; take it out there and \
         reload, and add it here once `rais status` does not show it any more"
    )]
    Taken {
        /// The address.
        address: IpAddr,
        /// Whose it is.
        from: String,
        /// Whose it is to be.
        to: String,
    },
}

/// What it takes to get from one configuration to another.
///
/// # Errors
/// [`Impossible`]: nothing can be done about it while the agent runs, or not in one step.
pub fn plan(old: &Config, new: &Config) -> Result<Plan, Impossible> {
    let agent = agent(&old.agent, &new.agent)?;
    let before = |name: &str| old.groups.iter().find(|group| group.settings.name == name);
    let mut groups: Vec<GroupPlan> = new
        .groups
        .iter()
        .map(|group| match before(&group.settings.name) {
            Some(before) => change(before, group),
            None => whole(group, Fate::Added),
        })
        .collect();
    let stays = |group: &&Group| new.groups.iter().any(|g| g.settings.name == group.settings.name);
    let gone = old.groups.iter().filter(|group| !stays(group));
    groups.extend(gone.map(|group| whole(group, Fate::Removed)));
    let plan = Plan { agent, groups };
    not_taken(old, new, &plan)?;
    stays_armed(old, &plan)?;
    Ok(plan)
}

/// Routes put in place beforehand are no group's to release.
fn stays_armed(old: &Config, plan: &Plan) -> Result<(), Impossible> {
    let armed = |group: &&GroupPlan| {
        let mut before = old.groups.iter().filter(|before| before.settings.name == group.name);
        before.any(|before| before.address_mode == AddressMode::Route { prearm: true })
    };
    let mut ending =
        plan.groups.iter().filter(|g| matches!(g.fate, Fate::Removed | Fate::Restarted));
    ending.find(armed).map_or(Ok(()), |group| {
        Err(Impossible::Armed { group: group.name.clone(), fate: group.fate })
    })
}

/// Two groups cannot have one address of an interface at a time. Groups start after others have
/// ended; but one that goes on gives an address up only some time after it was told.
fn not_taken(old: &Config, new: &Config, plan: &Plan) -> Result<(), Impossible> {
    let fate = |group: &Group| {
        let name = &group.settings.name;
        plan.groups.iter().find(|group| group.name == *name).map(|group| group.fate)
    };
    let ends = |group: &Group| matches!(fate(group), Some(Fate::Removed | Fate::Restarted));
    let starts = |group: &Group| matches!(fate(group), Some(Fate::Added | Fate::Restarted));
    for group in &new.groups {
        let others = old.groups.iter().filter(|other| {
            other.settings.name != group.settings.name
                && other.service_interface.index == group.service_interface.index
                && !(ends(other) && starts(group))
        });
        for other in others {
            let theirs = other.settings.preferred.union(&other.settings.floating);
            let both = theirs.copied().find(|address| {
                group.settings.preferred.contains(address)
                    || group.settings.floating.contains(address)
            });
            if let Some(address) = both {
                let (from, to) = (other.settings.name.clone(), group.settings.name.clone());
                return Err(Impossible::Taken { address, from, to });
            }
        }
    }
    Ok(())
}

fn whole(group: &Group, fate: Fate) -> GroupPlan {
    GroupPlan { name: group.settings.name.clone(), fate, keys: Vec::new() }
}

/// What of `[agent]` changes.
fn agent(old: &Agent, new: &Agent) -> Result<Vec<Change>, Impossible> {
    // A new key has to say here what its change takes.
    let Agent {
        host,
        run_dir,
        bpf_dir,
        state_dir,
        data_plane,
        xdp_mode,
        log_packets,
        realtime,
        metrics,
        daemon: Daemon { socket, script_capabilities, log },
    } = old;
    let mut frozen = Keys::default();
    frozen.shown("host_id", host, &new.host);
    frozen.shown("run_dir", &run_dir.display(), &new.run_dir.display());
    frozen.shown("bpf_dir", &bpf_dir.display(), &new.bpf_dir.display());
    frozen.shown("state_dir", &state_dir.display(), &new.state_dir.display());
    frozen.shown("data_plane", data_plane.word(), new.data_plane.word());
    frozen.known("xdp_mode", xdp_mode, &new.xdp_mode);
    frozen.shown("log_packets", log_packets, &new.log_packets);
    frozen.shown("realtime", realtime, &new.realtime);
    let SocketAccess { owner, group, mode } = socket;
    frozen.known("socket_owner", owner, &new.daemon.socket.owner);
    frozen.known("socket_group", group, &new.daemon.socket.group);
    frozen.known("socket_mode", mode, &new.daemon.socket.mode);
    frozen.known("script_capabilities", script_capabilities, &new.daemon.script_capabilities);
    frozen.known("log", log, &new.daemon.log);
    if !frozen.0.is_empty() {
        return Err(Impossible::Frozen(frozen.0));
    }
    let mut keys = Keys::default();
    let listens =
        |at: &Option<_>| at.map_or("none".to_owned(), |at: std::net::SocketAddr| at.to_string());
    keys.shown("metrics", &listens(metrics), &listens(&new.metrics));
    Ok(keys.0)
}

/// What becomes of a group that is in both configurations.
fn change(old: &Group, new: &Group) -> GroupPlan {
    // A new key has to say here what its change takes.
    let Group {
        settings,
        address,
        control_interfaces: _,
        service_interface,
        address_mode,
        seal,
        tests,
        loads,
        scripts,
        dns,
        traps,
    } = old;
    let mut keys = Keys::default();
    keys.shown("address", address, &new.address);
    control(&mut keys, old, new);
    let service = (std::slice::from_ref(service_interface), &new.service_interface);
    interfaces(&mut keys, "service_interface", service.0, std::slice::from_ref(service.1));
    keys.shown("address_mode", &mode_words(*address_mode), &mode_words(new.address_mode));
    let restarts = !keys.0.is_empty();

    self::settings(&mut keys, settings, &new.settings);
    if *seal != new.seal {
        keys.note(if insecure(seal) == insecure(&new.seal) { "key_files" } else { "insecure" });
    }
    keys.list("test", &named(tests, &new.tests), &named(&new.tests, tests));
    keys.known("load", loads, &new.loads);
    self::scripts(&mut keys, scripts, &new.scripts);
    keys.known("dns", dns, &new.dns);
    keys.known("traps", traps, &new.traps);
    let fate = match (restarts, keys.0.is_empty()) {
        (true, _) => Fate::Restarted,
        (false, false) => Fate::Changed,
        (false, true) => Fate::Unchanged,
    };
    GroupPlan { keys: keys.0, ..whole(new, fate) }
}

const fn mode_words(mode: AddressMode) -> &'static str {
    match mode {
        AddressMode::Interface => "interface",
        AddressMode::Route { prearm: false } => "route",
        AddressMode::Route { prearm: true } => "route with prearm",
    }
}

/// Where control messages go and come, by which the others know this host.
fn control(keys: &mut Keys, old: &Group, new: &Group) {
    let key = "control_interfaces";
    let before = keys.0.len();
    interfaces(keys, key, &old.control_interfaces, &new.control_interfaces);
    let (from, to) = (&old.settings.control_addresses, &new.settings.control_addresses);
    if keys.0.len() == before && from != to {
        keys.push(key, format!("by their addresses: {} -> {}", list(from), list(to)));
    }
}

/// Interfaces are the same as long as the kernel's are. Service addresses come and go on them.
fn interfaces(keys: &mut Keys, key: &str, old: &[Interface], new: &[Interface]) {
    let names = |all: &[Interface]| list(all.iter().map(|interface| &interface.name));
    let same = |(a, b): (&Interface, &Interface)| (a.index, a.mac) == (b.index, b.mac);
    if names(old) != names(new) {
        keys.shown(key, &names(old), &names(new));
    } else if !old.iter().zip(new).all(same) {
        keys.push(key, format!("{} was made anew", names(new)));
    }
}

/// What the decision maker is told.
fn settings(keys: &mut Keys, old: &Settings, new: &Settings) {
    let Settings {
        // The name is the same. The host, its addresses and its interface were compared.
        name: _,
        host: _,
        mac: _,
        control_addresses: _,
        role,
        heartbeat,
        timeout,
        preferred,
        floating,
        quorum,
        failback,
        placement,
        balance,
        spread,
        orphan_timeout,
        // These follow from others.
        lease: _,
        action_limit: _,
        acquire_script: _,
        release_script: _,
        seed: _,
    } = old;
    let role_word = |role: &Role| if *role == Role::Member { "member" } else { "observer" };
    keys.shown("role", &role_word(role), &role_word(&new.role));
    keys.span("heartbeat", *heartbeat, new.heartbeat);
    keys.span("timeout", *timeout, new.timeout);
    keys.list("preferred", &minus(preferred, &new.preferred), &minus(&new.preferred, preferred));
    keys.list("floating", &minus(floating, &new.floating), &minus(&new.floating, floating));
    keys.shown("quorum", quorum, &new.quorum);
    keys.shown("failback", &failback_word(*failback), &failback_word(new.failback));
    let placement_word = |placement: &Placement| match placement {
        Placement::LeastUtilised => "least-utilised",
        Placement::Random => "random",
    };
    keys.shown("placement", &placement_word(placement), &placement_word(&new.placement));
    let mark = |balance: &Option<Balance>, which: fn(&Balance) -> u32| {
        balance.as_ref().map_or("none".to_owned(), |balance| which(balance).to_string())
    };
    let mut marks = |key, which| {
        keys.shown(key, &mark(balance, which), &mark(&new.balance, which));
    };
    marks("high_water", |b| b.high);
    marks("low_water", |b| b.low);
    marks("scale", |b| b.scale);
    keys.shown("spread", spread, &new.spread);
    keys.span("orphan_timeout", *orphan_timeout, new.orphan_timeout);
}

fn failback_word(failback: Failback) -> String {
    match failback {
        Failback::Immediate => "immediate".to_owned(),
        Failback::After(pause) => show(pause),
        Failback::Never => "never".to_owned(),
    }
}

fn scripts(keys: &mut Keys, old: &Scripts, new: &Scripts) {
    let Scripts { acquire, release, test_failed, cannot_assign, timeout } = old;
    let scripts = [
        ("scripts.acquire", acquire, &new.acquire),
        ("scripts.release", release, &new.release),
        ("scripts.test_failed", test_failed, &new.test_failed),
        ("scripts.cannot_assign", cannot_assign, &new.cannot_assign),
    ];
    for (key, old, new) in scripts {
        let path = |path: &Option<std::path::PathBuf>| {
            path.as_ref().map_or("none".to_owned(), |path| path.display().to_string())
        };
        keys.shown(key, &path(old), &path(new));
    }
    keys.span("scripts.timeout", *timeout, new.timeout);
}

/// The names of tests that are not among others, just as they are.
fn named(tests: &[Test], others: &[Test]) -> Vec<String> {
    tests.iter().filter(|test| !others.contains(test)).map(|test| test.name.clone()).collect()
}

fn minus(addresses: &BTreeSet<IpAddr>, others: &BTreeSet<IpAddr>) -> Vec<String> {
    addresses.difference(others).map(IpAddr::to_string).collect()
}

fn insecure(seal: &Seal) -> bool {
    *seal == Seal::Insecure
}

fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

/// Gathers keys that differ.
#[derive(Default)]
struct Keys(Vec<Change>);

impl Keys {
    fn push(&mut self, key: &str, how: String) {
        self.0.push(Change { key: key.to_owned(), how });
    }

    /// A key that differs, of which no more is said.
    fn note(&mut self, key: &str) {
        self.push(key, String::new());
    }

    /// Compared as it is shown.
    fn shown<T: Display + ?Sized>(&mut self, key: &str, old: &T, new: &T) {
        let (old, new) = (old.to_string(), new.to_string());
        if old != new {
            self.push(key, format!("{old} -> {new}"));
        }
    }

    fn span(&mut self, key: &str, old: Duration, new: Duration) {
        if old != new {
            self.push(key, format!("{} -> {}", show(old), show(new)));
        }
    }

    /// Compared, and not shown.
    fn known<T: PartialEq>(&mut self, key: &str, old: &T, new: &T) {
        if old != new {
            self.note(key);
        }
    }

    /// What goes from a list and what comes to it.
    fn list(&mut self, key: &str, gone: &[String], come: &[String]) {
        let signed = gone.iter().map(|item| ('-', item)).chain(come.iter().map(|item| ('+', item)));
        let mut how = String::new();
        for (sign, item) in signed {
            // Writing to a String does not fail.
            write!(how, "{}{sign}{item}", if how.is_empty() { "" } else { " " }).ok();
        }
        if !how.is_empty() {
            self.push(key, how);
        }
    }
}

impl Plan {
    /// It leaves everything as it is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.agent.is_empty() && self.groups.iter().all(|group| group.fate == Fate::Unchanged)
    }
}

impl Fate {
    /// The word for it, which is also that of the event.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Changed => "changed",
            Self::Restarted => "restarted",
            Self::Added => "added",
            Self::Removed => "removed",
        }
    }
}

impl Display for Plan {
    /// A line for `[agent]`, where something of it changes, and one for each group.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.agent.is_empty() {
            writeln!(f, "agent: changed: {}", words(&self.agent))?;
        }
        self.groups.iter().try_for_each(|group| writeln!(f, "group {group}"))
    }
}

impl Display for GroupPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.fate.word())?;
        if self.keys.is_empty() { Ok(()) } else { write!(f, ": {}", words(&self.keys)) }
    }
}

impl Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, how } = self;
        if how.is_empty() { write!(f, "`{key}`") } else { write!(f, "`{key}` ({how})") }
    }
}

/// Changes in one line.
#[must_use]
pub fn words(changes: &[Change]) -> String {
    list(changes)
}
