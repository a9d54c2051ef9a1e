//! `[group.traps]`

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::checked::{Secret, TrapAuth, TrapPrivacy, TrapSecurity, TrapUser, Traps};
use super::facts::Facts;
use super::keys;
use super::reader::{At, Section};

/// Most destinations of one group.
const MAX_DESTINATIONS: usize = 8;

/// Longest user name, in bytes (RFC 3414, 5, `usmUserName`).
const MAX_USER: usize = 32;

/// Shortest and longest password, in bytes (RFC 3414, 11.2).
const PASSWORD: std::ops::RangeInclusive<usize> = 8..=255;

/// Keys that go with version 3 only.
const OF_USERS: [&str; 5] = ["user", "auth", "auth_file", "privacy", "privacy_file"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Community,
    Users,
}

/// The section, if it is there and nothing is missing.
pub(super) fn read(group: &Section<'_>, facts: &dyn Facts) -> Option<Traps> {
    let section = group.table("traps", "[group.traps]")?;
    let destinations = destinations(&section);
    let versions = [("2c", Version::Community), ("3", Version::Users)];
    let version = section.choice("version", &versions).map_or(Version::Community, |at| at.value);
    let inform = section.boolean("inform").is_some_and(|at| at.value);
    let community = section.string("community", "a word in quotes");
    let security = match version {
        Version::Community => {
            for key in OF_USERS {
                not_with(&section, key, "3");
            }
            let community = community.map_or("public", |at| at.value).to_owned();
            Some(TrapSecurity::Community(Secret(community)))
        }
        Version::Users => {
            not_with(&section, "community", "2c");
            user(&section, facts).map(|user| TrapSecurity::User(Box::new(user)))
        }
    };
    section.finish();
    Some(Traps { destinations, inform, security: security? })
}

/// A key that goes with the other version.
fn not_with(section: &Section<'_>, key: &'static str, version: &str) {
    if let Some(at) = section.value(key, "", |_| Some(())) {
        let message = format!("`{key}` goes with `version = \"{version}\"`; remove one of them");
        section.document().mistake(at.offset, message);
    }
}

fn destinations(section: &Section<'_>) -> Vec<SocketAddr> {
    let expected = "an IP address and a UDP port in quotes, such as \"192.0.2.7:162\"";
    let list = section.list::<SocketAddr>("destinations", expected);
    if let Some(offset) = section.empty_list("destinations") {
        let message = "`destinations` names no receiver; at least one is needed";
        section.document().mistake(offset, message);
    } else if !section.has("destinations") {
        section.missing(format!(
            "`destinations` is missing in [group.traps]; expected a list, each entry {expected}"
        ));
    }
    if let Some(extra) = list.get(MAX_DESTINATIONS) {
        let message = format!("more than {MAX_DESTINATIONS} destinations");
        section.document().mistake(extra.offset, message);
    }
    let mut seen = BTreeMap::new();
    for At { value, offset } in &list {
        section
            .document()
            .once(&mut seen, *value, *offset, |_| format!("destination {value} is named twice"));
        let problem = if value.port() == 0 {
            "has no usable port; expected 1 to 65535, usual is 162"
        } else if value.ip().is_unspecified() || value.ip().is_multicast() {
            "is not the address of a host"
        } else {
            continue;
        };
        section.document().mistake(*offset, format!("`destinations`: {value} {problem}"));
    }
    list.into_iter().map(|at| at.value).collect()
}

fn user(section: &Section<'_>, facts: &dyn Facts) -> Option<TrapUser> {
    let expected = format!("a name of 1 to {MAX_USER} bytes in quotes");
    let name = section.value("user", &expected, |value| {
        value.as_str().filter(|name| (1..=MAX_USER).contains(&name.len()))
    });
    let name = section.required("user", name, &expected);
    let auths = [("sha256", TrapAuth::Sha256), ("sha512", TrapAuth::Sha512)];
    let auth = section.choice("auth", &auths).map_or(TrapAuth::Sha256, |at| at.value);
    let privacies = [("aes128", TrapPrivacy::Aes128), ("aes256", TrapPrivacy::Aes256)];
    let privacy = section.choice("privacy", &privacies).map_or(TrapPrivacy::Aes128, |at| at.value);
    let auth_secret = password(section, "auth_file", facts);
    let privacy_secret = password(section, "privacy_file", facts);
    Some(TrapUser {
        name: name?.value.to_owned(),
        auth,
        auth_secret: auth_secret?,
        privacy,
        privacy_secret: privacy_secret?,
    })
}

/// The password in the file that `key` names.
fn password(section: &Section<'_>, key: &'static str, facts: &dyn Facts) -> Option<Secret> {
    let path: Option<At<PathBuf>> = section.path(key);
    let expected = "the path of a file with a password";
    let At { value: path, offset } = section.required(key, path, expected)?;
    let secret = read_password(&path, facts);
    secret.map_err(|message| section.document().mistake(offset, message)).ok()
}

fn read_password(path: &Path, facts: &dyn Facts) -> Result<Secret, String> {
    let file = keys::private("password file", path, "", facts)?;
    let text = file.text.trim_end_matches(['\r', '\n']);
    if text.contains('\n') || !PASSWORD.contains(&text.len()) {
        return Err(format!(
            "password file {}: expected one line of {} to {} bytes",
            path.display(),
            PASSWORD.start(),
            PASSWORD.end()
        ));
    }
    Ok(Secret(text.to_owned()))
}
