//! `[group.dns]`

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use domain::base::Name;

use super::checked::{
    Delegate, Interface, NameBackend, NameServer, NameService, UpdatedServer, ZoneFile,
};
use super::duration::show;
use super::facts::Facts;
use super::objects::check_program;
use super::reader::{At, Section};
use super::tsig;

/// How long others may remember what the zone says, unless the file says otherwise.
const TTL: Duration = Duration::from_secs(5);

/// Longest name of a zone, in octets: there has to be room for `hostmaster` before it.
const MAX_ZONE: usize = 200;

/// Longest: a day.
const MAX_TTL: Duration = Duration::from_hours(24);

/// Most name servers of a zone, and most addresses to listen on.
const MAX_SERVERS: usize = 16;

/// Most service addresses of a group that keeps a zone: an answer with all of them fits.
const MAX_ADDRESSES: usize = 1_024;

/// Deadline of the reload command.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The port of DNS.
const PORT: u16 = 53;

/// What a `[group.dns]` says.
pub(super) struct Raw {
    /// What the agent listens on, in the order of the file.
    pub(super) listen: Vec<At<SocketAddr>>,
    /// None where something is missing, which was reported.
    pub(super) service: Option<NameService>,
}

#[derive(Clone, Copy)]
enum Kind {
    Server,
    Update,
    ZoneFile,
}

/// The zone of a group whose clients are on `interface` and ask for these addresses.
pub(super) fn read(
    group: &Section<'_>,
    interface: Option<&Interface>,
    addresses: &[At<IpAddr>],
    facts: &dyn Facts,
) -> Option<Raw> {
    let section = group.table("dns", "[group.dns]")?;
    if let Some(extra) = addresses.get(MAX_ADDRESSES) {
        section.document().mistake(
            extra.offset,
            format!(
                "more than {MAX_ADDRESSES} service addresses in a group with [group.dns]: an answer \
                 has no room for them; make several groups"
            ),
        );
    }
    let zone = zone(&section);
    let name = name(&section, zone.as_ref());
    let ttl = ttl(&section);
    let minimum = section.number("minimum", 0).map_or(1, |at| at.value);
    let kinds = [("server", Kind::Server), ("update", Kind::Update), ("zone-file", Kind::ZoneFile)];
    let kind = section.choice("backend", &kinds);
    let (backend, listen) = match kind.map_or(Kind::Server, |at| at.value) {
        Kind::Server => {
            let listen = listen(&section, interface, addresses);
            (server(&section, zone.as_ref(), &listen), listen)
        }
        Kind::Update => (update(&section, facts), Vec::new()),
        Kind::ZoneFile => (zone_file(&section, zone.as_ref(), facts), Vec::new()),
    };
    section.finish();
    let service = || {
        Some(NameService {
            zone: zone?,
            name: name?,
            ttl,
            minimum: usize::try_from(minimum).unwrap_or(usize::MAX),
            backend: backend?,
        })
    };
    Some(Raw { service: service(), listen })
}

fn zone(section: &Section<'_>) -> Option<Name<Vec<u8>>> {
    let expected = "the name of a zone in quotes, such as \"web.example.net.\"";
    let zone = section.value("zone", expected, |value| {
        Name::<Vec<u8>>::from_str(value.as_str()?)
            .ok()
            .filter(|zone| !zone.is_root() && zone.len() <= MAX_ZONE)
    });
    section.required("zone", zone, expected).map(|at| at.value)
}

/// The name with the addresses: one in the zone, or the zone's own.
fn name(section: &Section<'_>, zone: Option<&Name<Vec<u8>>>) -> Option<Name<Vec<u8>>> {
    let expected = "a name in the zone in quotes, such as \"www\", or \"@\" for the zone itself";
    let Some(zone) = zone else {
        section.string("name", expected);
        return None;
    };
    let name = section.value("name", expected, |value| in_zone(value.as_str()?, zone));
    match name {
        Some(name) => Some(name.value),
        None if section.has("name") => None,
        None => Some(zone.clone()),
    }
}

/// A name below the zone, or with a dot at its end a whole one that is in it.
fn in_zone(text: &str, zone: &Name<Vec<u8>>) -> Option<Name<Vec<u8>>> {
    if text == "@" {
        return Some(zone.clone());
    }
    let whole = if text.ends_with('.') { text.to_owned() } else { format!("{text}.{zone}") };
    let parsed = if text.is_empty() { None } else { Name::<Vec<u8>>::from_str(&whole).ok() };
    parsed.filter(|name| name.ends_with(zone))
}

/// In seconds.
fn ttl(section: &Section<'_>) -> u32 {
    let Some(At { value, offset }) = section.duration("ttl", Duration::from_secs(1)) else {
        return u32::try_from(TTL.as_secs()).unwrap_or(1);
    };
    if value.subsec_nanos() != 0 || value > MAX_TTL {
        section.document().mistake(
            offset,
            format!(
                "`ttl`: expected whole seconds, at most {}, found {}",
                show(MAX_TTL),
                show(value)
            ),
        );
    }
    u32::try_from(value.as_secs()).unwrap_or(u32::MAX)
}

/// Where the agent listens. An answer has to come from the address that was asked, so each is
/// named.
fn listen(
    section: &Section<'_>,
    interface: Option<&Interface>,
    addresses: &[At<IpAddr>],
) -> Vec<At<SocketAddr>> {
    let expected = "an IP address and a port in quotes, such as \"192.0.2.1:53\"";
    let listen = section.list::<SocketAddr>("listen", expected);
    if let Some(offset) = section.empty_list("listen") {
        section.document().mistake(offset, "`listen` names no address; at least one is needed");
    } else if !section.has("listen") {
        // What an agent that was killed left behind is no address of the machine's own.
        let service = |address: &&IpAddr| addresses.iter().any(|at| at.value == **address);
        let own = interface.and_then(|i| i.addresses.iter().find(|address| !service(address)));
        if let Some(own) = own {
            return vec![At { value: SocketAddr::new(*own, PORT), offset: section.offset() }];
        }
        let message = format!("`listen` is missing in [group.dns]; expected a list of {expected}");
        section.missing(message);
    }
    if let Some(extra) = listen.get(MAX_SERVERS) {
        let message = format!("more than {MAX_SERVERS} addresses to listen on");
        section.document().mistake(extra.offset, message);
    }
    for At { value, offset } in &listen {
        let problem = if value.ip().is_unspecified() {
            "stands for all addresses; name those that are asked, since answers come from them"
        } else if value.ip().is_multicast() {
            "is a multicast address; expected one of this host"
        } else if value.port() == 0 {
            "has no usable port; expected 1 to 65535"
        } else {
            continue;
        };
        section.document().mistake(*offset, format!("`listen`: {value} {problem}"));
    }
    listen
}

fn server(
    section: &Section<'_>,
    zone: Option<&Name<Vec<u8>>>,
    listen: &[At<SocketAddr>],
) -> Option<NameBackend> {
    let listen: Vec<SocketAddr> = listen.iter().map(|at| at.value).collect();
    let nameservers = nameservers(section, zone, Some(&listen));
    let notify = secondaries::<SocketAddr>(
        section,
        "notify",
        "an IP address and a port in quotes, such as \"192.0.2.53:53\"",
    );
    let transfer = secondaries::<IpAddr>(section, "transfer", "an IP address in quotes");
    Some(NameBackend::Server(NameServer { nameservers: nameservers?, listen, notify, transfer }))
}

/// A socket of another's name server.
const SERVER: &str = "an IP address and a port in quotes, such as \"192.0.2.53:53\"";

fn update(section: &Section<'_>, facts: &dyn Facts) -> Option<NameBackend> {
    let server = section.parsed::<SocketAddr>("server", SERVER);
    let server = section.required("server", server, SERVER);
    let expected = "the path of a file in quotes, as `tsig-keygen` prints it";
    let path = section.path("key_file");
    let path = section.required("key_file", path, expected);
    let key = path.and_then(|At { value, offset }| {
        let key = tsig::read(&value, facts);
        key.map_err(|message| section.document().mistake(offset, message)).ok()
    });
    Some(NameBackend::Update(UpdatedServer { server: server?.value, key: key? }))
}

fn zone_file(
    section: &Section<'_>,
    zone: Option<&Name<Vec<u8>>>,
    facts: &dyn Facts,
) -> Option<NameBackend> {
    let file = section.path("file");
    let file = section.required("file", file, "an absolute path in quotes");
    if let Some(At { value, offset }) = &file
        && value.file_name().is_none()
    {
        let message = format!("`file`: {} names no file", value.display());
        section.document().mistake(*offset, message);
    }
    let nameservers = nameservers(section, zone, None);
    let expected = "the path of a program in quotes, or a list of it and its arguments";
    let reload = section.string_or_list("reload", expected);
    if let Some(reload) = &reload
        && let Some(program) = reload.value.first()
    {
        check_program("reload", &reload.with(Path::new(program)), section, facts);
    }
    let reload_timeout = section.duration("reload_timeout", Duration::from_millis(1));
    let server = section.parsed::<SocketAddr>("server", SERVER);
    Some(NameBackend::ZoneFile(ZoneFile {
        file: file?.value,
        nameservers: nameservers?,
        reload: reload.map(|at| at.value),
        reload_timeout: reload_timeout.map_or(RELOAD_TIMEOUT, |at| at.value),
        server: server.map(|at| at.value),
    }))
}

fn secondaries<T: FromStr>(section: &Section<'_>, key: &'static str, expected: &str) -> Vec<T> {
    let list = section.list::<T>(key, expected);
    if let Some(extra) = list.get(MAX_SERVERS) {
        let message = format!("`{key}`: more than {MAX_SERVERS} secondaries");
        section.document().mistake(extra.offset, message);
    }
    list.into_iter().map(|at| at.value).collect()
}

/// The zone's name servers. Without the key an agent that answers itself, on these addresses, is
/// the only one, and called `ns`.
fn nameservers(
    section: &Section<'_>,
    zone: Option<&Name<Vec<u8>>>,
    own: Option<&[SocketAddr]>,
) -> Option<Vec<Delegate>> {
    let expected = "the name of a name server in quotes, and where it is in the zone its addresses \
                    after it, such as \"ns1 192.0.2.53\"";
    let texts = section.list::<String>("nameservers", expected);
    let zone = zone?;
    if let Some(offset) = section.empty_list("nameservers") {
        let message = "`nameservers` names no server; at least one is needed";
        section.document().mistake(offset, message);
    }
    if let Some(extra) = texts.get(MAX_SERVERS) {
        let message = format!("more than {MAX_SERVERS} name servers");
        section.document().mistake(extra.offset, message);
    }
    if !section.has("nameservers") {
        let Some(own) = own else {
            section.missing(format!(
                "`nameservers` is missing in [group.dns]; expected a list, each entry {expected}"
            ));
            return None;
        };
        let addresses = own.iter().map(SocketAddr::ip).collect();
        return Some(vec![Delegate { name: in_zone("ns", zone)?, addresses }]);
    }
    let mut servers = Vec::with_capacity(texts.len());
    for At { value, offset } in &texts {
        match delegate(value, zone) {
            Ok(delegate) => servers.push(delegate),
            Err(problem) => {
                let message = format!("`nameservers`: {value:?}: {problem}; expected {expected}");
                section.document().mistake(*offset, message);
            }
        }
    }
    Some(servers)
}

/// A name server and its addresses. A name without a dot is in the zone.
fn delegate(text: &str, zone: &Name<Vec<u8>>) -> Result<Delegate, String> {
    let mut words = text.split_whitespace();
    let name = words.next().ok_or("nothing in it")?;
    let name = if name.contains('.') {
        Name::<Vec<u8>>::from_str(name).map_err(|e| format!("no domain name: {e}"))?
    } else {
        in_zone(name, zone).ok_or("no domain name")?
    };
    let addresses: Result<Vec<IpAddr>, String> = words
        .map(|word| word.parse().map_err(|_unparsed| format!("{word} is no IP address")))
        .collect();
    let addresses = addresses?;
    match (name.ends_with(zone), addresses.is_empty()) {
        (true, true) => Err("it is in the zone, so its addresses are needed".to_owned()),
        (false, false) => Err("it is not in the zone, which has no addresses for it".to_owned()),
        (true, false) | (false, true) => Ok(Delegate { name, addresses }),
    }
}
