//! Events and actions of a group in words, for people who read a recording.

use std::net::IpAddr;

use crate::group::{
    Action, AddressScript, Ask, Body, Event, Info, Message, Order, Part, PartOf, Served, Slice,
};

/// What a group is told.
pub(super) fn event(event: &Event) -> String {
    match event {
        Event::Tick => "the time has come".to_owned(),
        Event::HeardUntil(at) => format!("has been told all that arrived before {at:?}"),
        Event::Received { message, .. } => format!("hears {}", message_words(message)),
        Event::HeartbeatSent { .. } => "its heartbeat was sent".to_owned(),
        Event::Configured { address, epoch, result } => {
            ended(&format!("{address} epoch {epoch} is configured"), result)
        }
        Event::OpenFailed { address, epoch, error } => {
            format!("{address} epoch {epoch} could not be opened: {error}")
        }
        Event::ScriptEnded { script, address, epoch, result } => {
            let what = format!("{} script of {address} epoch {epoch} ended", script_word(*script));
            ended(&what, result)
        }
        Event::Deconfigured { address, epoch, result } => {
            ended(&format!("{address} epoch {epoch} is off the interface"), result)
        }
        Event::Measured { address, epoch } => {
            format!("{address} epoch {epoch} is done in the data plane")
        }
        Event::Health { ok: true, .. } => "its tests pass".to_owned(),
        Event::Health { ok: false, detail } => format!("its tests fail: {detail}"),
        Event::Load { load, capacity } => format!("its load is {load} of {capacity}"),
        Event::Quiesce(true) => "is quiesced".to_owned(),
        Event::Quiesce(false) => "is resumed".to_owned(),
        Event::Move { address, to } => format!("is asked to have {address} moved to {to}"),
        Event::Reconfigured(_) => "has other settings".to_owned(),
        Event::Shutdown => "is to end".to_owned(),
        Event::Conflict { address, mac } => {
            format!("{address} is claimed by {}", hardware(*mac))
        }
        Event::Together(events) => {
            let first = events.first().map_or_else(String::new, self::event);
            format!("{first}, and {} more at once", events.len().saturating_sub(1))
        }
    }
}

fn hardware(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// What a group decides.
pub(super) fn action(action: &Action) -> String {
    match action {
        Action::Fence(addresses) => format!("fence {}", list(addresses)),
        Action::Open { address, epoch } => format!("open {address} epoch {epoch}"),
        Action::Stage { address, from } => {
            format!("make ready to take {address} over from {}", hardware(*from))
        }
        Action::Forward { address, to, .. } => {
            format!("send {address} on to {}", hardware(*to))
        }
        Action::Forget(address) => format!("forget {address}"),
        Action::Shorten(until) => format!("answer until {until:?} at most"),
        Action::Heartbeat { message, .. } | Action::Send(message) => {
            format!("send {}", message_words(message))
        }
        Action::Configure { address, epoch } => format!("configure {address} epoch {epoch}"),
        Action::Deconfigure { address, epoch } => format!("deconfigure {address} epoch {epoch}"),
        Action::Measure { address, epoch } => {
            format!("tell when {address} epoch {epoch} is done in the data plane")
        }
        Action::RunScript { script, address, epoch, reason } => {
            format!("run the {} script of {address} epoch {epoch} ({reason})", script_word(*script))
        }
        Action::Announce(addresses) => format!("announce {}", list(addresses)),
        Action::Report(report) => format!("report {report:?}"),
        Action::MoveEnded(Ok(())) => "the move is done".to_owned(),
        Action::MoveEnded(Err(why)) => format!("the move is not done: {why}"),
        Action::Stopped => "end".to_owned(),
    }
}

fn message_words(message: &Message) -> String {
    let what = match &message.body {
        Body::Info(info) => heartbeat(info),
        Body::Acquire(order) => format!("acquire {}", order_words(order)),
        Body::Release(order) => format!("release {}", order_words(order)),
        Body::Part(Part::Lists(slice, entries)) => {
            let Slice { bits, index } = slice;
            format!("{} addresses, slice {index} of 2^{bits} of its lists", entries.len())
        }
        Body::Part(Part::Records(records)) => {
            format!("{} addresses of its database", records.len())
        }
        Body::Ask(Ask { to, of, bits, first, sums }) => {
            let of = if *of == PartOf::Lists { "lists" } else { "database" };
            let last = usize::from(*first) + sums.len();
            format!("{to} is asked about slices {first} to {last} of 2^{bits} of its {of}")
        }
        Body::Move(request) => {
            format!("{} is asked to move {} to {}", request.leader, request.address, request.to)
        }
        Body::MoveRefused(answer) => {
            format!("{} is not moved for {}: {}", answer.address, answer.to, answer.refusal)
        }
    };
    format!("{} #{}: {what}", message.source, message.sequence)
}

fn heartbeat(info: &Info) -> String {
    let host = &info.host;
    let mut words = vec![format!("heartbeat, {:?}", host.phase).to_lowercase()];
    words.push(match host.leader {
        Some(leader) => format!("follows {leader}"),
        None => "follows nobody".to_owned(),
    });
    words.extend((!host.ok).then(|| "not ok".to_owned()));
    words.extend(host.quiesced.then(|| "quiesced".to_owned()));
    words.extend(host.served.iter().map(|Served { address, state, epoch }| {
        let state = format!("{state:?}").to_lowercase();
        format!("{address} {state} epoch {epoch}")
    }));
    words.join(", ")
}

fn order_words(order: &Order) -> String {
    let entry =
        |e: &crate::group::OrderEntry| format!("{} epoch {} ({})", e.address, e.epoch, e.reason);
    let entries: Vec<String> = order.entries.iter().map(entry).collect();
    format!("{} on {}", entries.join(", "), order.to)
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
}

const fn script_word(script: AddressScript) -> &'static str {
    match script {
        AddressScript::Acquire => "acquire",
        AddressScript::Release => "release",
    }
}

fn ended(what: &str, result: &Result<(), String>) -> String {
    match result {
        Ok(()) => what.to_owned(),
        Err(error) => format!("{what}: failed: {error}"),
    }
}
