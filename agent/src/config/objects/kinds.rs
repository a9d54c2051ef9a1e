//! What each kind of test object is told.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use domain::base::{Name, Rtype};
use hyper::Uri;
use hyper::http::uri::Scheme;
use tokio_rustls::rustls::pki_types::ServerName;
use toml::de::DeValue;

use super::{MILLISECOND, command};
use crate::config::checked::{Dns, Http, TestKind, Tls, Trust};
use crate::config::facts::Facts;
use crate::config::reader::{At, Section};

pub(super) fn tcp(section: &Section<'_>) -> Option<TestKind> {
    let expected = "an IP address and a port in quotes, such as \"127.0.0.1:8080\"";
    let address = section.parsed::<SocketAddr>("address", expected);
    section.required("address", address, expected).map(|at| TestKind::Tcp(at.value))
}

pub(super) fn script(section: &Section<'_>, facts: &dyn Facts) -> Option<TestKind> {
    command(section, facts).map(TestKind::Script)
}

pub(super) fn file(section: &Section<'_>) -> Option<TestKind> {
    let path = section.path("path");
    let path = section.required("path", path, "an absolute path in quotes");
    let contains = text(section, "contains");
    let max_age = section.duration("max_age", MILLISECOND).map(|at| at.value);
    Some(TestKind::File { path: path?.value, contains, max_age })
}

pub(super) fn interface(section: &Section<'_>) -> Option<TestKind> {
    // It need not be there yet: that is what is tested.
    let expected = "the name of an interface in quotes, such as \"eth0\"";
    let name = section.value("interface", expected, |value| {
        value.as_str().filter(|name| (1..libc::IFNAMSIZ).contains(&name.len()))
    });
    let name = section.required("interface", name, expected);
    let address = section.parsed::<IpAddr>("address", "an IP address in quotes");
    let address = address.map(|at| at.value);
    Some(TestKind::Interface { name: name?.value.to_owned(), address })
}

pub(super) fn http(section: &Section<'_>, facts: &dyn Facts) -> Option<TestKind> {
    let expected = "a URL in quotes, such as \"http://127.0.0.1:8080/health\"";
    let url = section.value("url", expected, |value| Url::parse(value.as_str()?));
    let url = section.required("url", url, expected);
    let expected = "a status such as 200, a range such as \"200-299\", or a list of these";
    let status = section.value("status", expected, statuses);
    let body_contains = text(section, "body_contains");
    let trust = trust(section, facts);
    let Url { uri, host, port, name } = url?.value;
    if name.is_none()
        && let Some(at) = &trust
    {
        section.document().mistake(at.offset, "this is for URLs that begin with https");
    }
    let trust = trust.map_or(Trust::Machine, |at| at.value);
    Some(TestKind::Http(Box::new(Http {
        url: uri,
        host,
        port,
        tls: name.map(|name| Tls { name, trust }),
        status: status.map_or_else(|| vec![200..=200], |at| at.value),
        body_contains,
    })))
}

/// `ca_file` or `insecure_tls`, where there is one.
fn trust(section: &Section<'_>, facts: &dyn Facts) -> Option<At<Trust>> {
    let authorities = section.path("ca_file").map(|at| {
        let found = facts.certificates(&at.value).unwrap_or_else(|problem| {
            let shown = at.value.display();
            section.document().mistake(at.offset, format!("`ca_file`: {shown}: {problem}"));
            Vec::new()
        });
        at.with(Trust::Authorities(found))
    });
    let anyone = section.boolean("insecure_tls").filter(|at| at.value);
    if let (Some(_), Some(anyone)) = (&authorities, &anyone) {
        let message = "`insecure_tls` and `ca_file`: it is one or the other";
        section.document().mistake(anyone.offset, message);
    }
    authorities.or_else(|| anyone.map(|at| at.with(Trust::Anyone)))
}

/// What is needed of a URL.
struct Url {
    uri: Uri,
    host: String,
    port: u16,
    /// For `https`.
    name: Option<ServerName<'static>>,
}

impl Url {
    fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let secure = *uri.scheme()? == Scheme::HTTPS;
        if !secure && *uri.scheme()? != Scheme::HTTP {
            return None;
        }
        let authority = uri.authority()?.as_str();
        if authority.contains('@') {
            return None;
        }
        let host = uri.host().filter(|host| !host.is_empty())?;
        let port = match authority.strip_prefix(host)?.strip_prefix(':') {
            Some(port) => port.parse().ok().filter(|port| *port != 0)?,
            None if secure => 443,
            None => 80,
        };
        let host = match host.strip_prefix('[') {
            Some(v6) => v6.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?.to_string(),
            None => host.to_owned(),
        };
        let name = if secure { Some(ServerName::try_from(host.clone()).ok()?) } else { None };
        Some(Self { uri, host, port, name })
    }
}

/// A status, a range of them, or a list of these that is not empty.
fn statuses(value: &DeValue<'_>) -> Option<Vec<RangeInclusive<u16>>> {
    if let Some(list) = value.as_array() {
        let list: Option<Vec<_>> = list.iter().map(|entry| range(entry.get_ref())).collect();
        return list.filter(|list| !list.is_empty());
    }
    Some(vec![range(value)?])
}

fn range(value: &DeValue<'_>) -> Option<RangeInclusive<u16>> {
    let status = |text: &str| text.parse().ok().filter(|status| (100..=999).contains(status));
    if let Some(number) = value.as_integer() {
        let number = u16::from_str_radix(number.as_str(), number.radix()).ok()?;
        return (100..=999).contains(&number).then_some(number..=number);
    }
    let (first, last) = value.as_str()?.split_once('-')?;
    let (first, last) = (status(first)?, status(last)?);
    (first <= last).then_some(first..=last)
}

pub(super) fn dns(section: &Section<'_>) -> Option<TestKind> {
    let expected = "an IP address and a port in quotes, such as \"127.0.0.1:53\"";
    let server = section.parsed::<SocketAddr>("server", expected);
    let server = section.required("server", server, expected);
    let expected = "a domain name in quotes, such as \"www.example.org\"";
    let name = section.parsed::<Name<Vec<u8>>>("query", expected);
    let name = section.required("query", name, expected);
    let rtype = section.parsed::<Rtype>("type", "a record type in quotes, such as \"A\"");
    let rtype = rtype.map_or(Rtype::A, |at| at.value);
    let expect = section.parsed::<IpAddr>("expect", "an IP address in quotes");
    if let Some(At { value, offset }) = expect
        && rtype != if value.is_ipv4() { Rtype::A } else { Rtype::AAAA }
    {
        let message = format!("`expect`: {value} cannot be in an answer of type {rtype}");
        section.document().mistake(offset, message);
    }
    let expect = expect.map(|at| at.value);
    Some(TestKind::Dns(Dns { server: server?.value, name: name?.value, rtype, expect }))
}

/// Text that is not empty.
fn text(section: &Section<'_>, key: &'static str) -> Option<String> {
    let text = section.value(key, "text in quotes, at least a character", |value| {
        value.as_str().filter(|text| !text.is_empty())
    });
    text.map(|at| at.value.to_owned())
}
