//! `rais check`

use std::fmt::Write;

use rais::config::checked::{Config, Group, Interface, Seal};
use rais::group::Role;

use super::ConfigArgs;

/// Validates the file and says in short what it asks for.
pub(super) fn main(args: &ConfigArgs) -> anyhow::Result<()> {
    let config = args.load()?;
    rais::agent::check(&config)?;
    super::print(&format!("{}: ok\n{}", args.config.display(), summary(&config)))
}

fn summary(config: &Config) -> String {
    let mut text = format!("host {}\n", config.agent.host);
    if let Some(warning) = rais::agent::warning(config) {
        // Writing to a String does not fail.
        writeln!(text, "data plane {}: {warning}", config.agent.data_plane.word()).ok();
    }
    for group in &config.groups {
        // Writing to a String does not fail.
        writeln!(text, "{}", line(group)).ok();
    }
    text
}

fn line(group: &Group) -> String {
    let settings = &group.settings;
    let control: Vec<_> = group.control_interfaces.iter().map(name).collect();
    let role = match settings.role {
        Role::Member => "member",
        Role::Observer => "observer",
    };
    let seal = match &group.seal {
        Seal::Keys(keys) => format!("sealed ({} accepted)", count(keys.len(), "key")),
        Seal::Insecure => "INSECURE: messages are neither sealed nor checked".to_owned(),
    };
    format!(
        "group {}: {role}, {} over {}, service on {}, heartbeat {:?}, timeout {:?}, lease {:?}, \
         {} preferred and {} floating, {}, {}, {seal}",
        settings.name,
        group.address,
        control.join(", "),
        name(&group.service_interface),
        settings.heartbeat,
        settings.timeout,
        settings.lease,
        count(settings.preferred.len(), "address"),
        settings.floating.len(),
        count(group.tests.len(), "test"),
        count(group.loads.len(), "load object"),
    )
}

fn name(interface: &Interface) -> &str {
    &interface.name
}

/// `2 keys`, `1 address`
fn count(number: usize, word: &str) -> String {
    let plural = match (number, word.ends_with('s')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{number} {word}{plural}")
}
