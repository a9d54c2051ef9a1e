//! Name service of one group: from what this host sees of it to what its zone says.
//!
//! ```text
//!   driver ── views ──► choose ── wanted ──► publish ──► backend
//!     at each heartbeat and report,    the latest, until
//!     if there is room                 it has succeeded
//! ```
//!
//! The driver waits for nothing here: a view that finds no room is dropped, and another follows
//! with the next heartbeat. A name server that does not answer delays the zone, and nothing else.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rais_common::time::Time;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use crate::clock;
use crate::config::checked::{self, NameBackend, NameService};
use crate::dns::{self, Backend, Wanted};
use crate::events::{self, Event, EventLog};
use crate::group::{Advertising, HostId, Listing, Phase, Role, View, Withheld};
use crate::status;

/// Least time between two views: some groups have a heartbeat a millisecond.
const PAUSE: Duration = Duration::from_millis(10);

/// How long a publication may take, besides what a command has.
const LIMIT: Duration = Duration::from_secs(20);

/// How long to wait after the first one that failed; then twice as long each time, up to the most.
/// What is wanted anew is tried at once, and begins at the first again.
const RETRY: Duration = Duration::from_secs(1);
const MOST_RETRY: Duration = Duration::from_secs(30);

/// How often to see whether the zone still says what it is to say.
const REFRESH: Duration = Duration::from_mins(1);

/// Where the driver puts what it sees.
#[derive(Debug)]
pub struct Views {
    room: mpsc::Sender<Box<View>>,
    last: Time,
}

impl Views {
    /// Puts a view there, if there is room and the last one is some time ago.
    pub fn offer(&mut self, now: Time, view: impl FnOnce() -> View) {
        if now.since(self.last) >= PAUSE
            && let Ok(room) = self.room.try_reserve()
        {
            self.last = now;
            room.send(Box::new(view()));
        }
    }
}

/// The name service of a group, as it stands.
#[derive(Clone, Debug)]
pub struct Names(Arc<Mutex<status::Dns>>);

impl Names {
    /// What is advertised, and what is not.
    #[must_use]
    pub fn status(&self) -> status::Dns {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, status::Dns> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the name service of a group. It ends when the driver has.
#[must_use]
pub fn start(
    runtime: &Handle,
    group: &checked::Group,
    service: &NameService,
    log: Arc<EventLog>,
) -> (Views, Names) {
    let (room, views) = mpsc::channel(1);
    let names = Names(Arc::new(Mutex::new(status::Dns {
        zone: service.zone.fmt_with_dot().to_string(),
        name: service.name.fmt_with_dot().to_string(),
        backend: service.backend.word().to_owned(),
        ..status::Dns::default()
    })));
    let notes = Notes { group: group.settings.name.clone(), log };
    let (want, wanted) = watch::channel(None);
    let chooser = Chooser {
        rule: Advertising { marks: group.settings.balance, minimum: service.minimum },
        everywhere: match service.backend {
            NameBackend::Server(_) | NameBackend::ZoneFile(_) => true,
            NameBackend::Update(_) => false,
        },
        names: names.clone(),
        notes: notes.clone(),
        last: None,
        want,
    };
    let publisher = Publisher {
        backend: dns::backend(service),
        names: names.clone(),
        notes,
        failed: 0,
        limit: match &service.backend {
            NameBackend::Server(_) | NameBackend::Update(_) => LIMIT,
            NameBackend::ZoneFile(file) => LIMIT.saturating_add(file.reload_timeout),
        },
        wanted,
    };
    runtime.spawn(chooser.run(views));
    runtime.spawn(publisher.run());
    (Views { room, last: Time::ZERO }, names)
}

/// Writes down what happened.
#[derive(Clone)]
struct Notes {
    group: String,
    log: Arc<EventLog>,
}

impl Notes {
    fn write(&self, event: Event) {
        let time = events::rfc3339(clock::wall_nanos());
        let event = Event { time, group: self.group.clone(), ..event };
        tracing::info!("{event}");
        self.log.push(event);
    }
}

/// Chooses what the zone is to say.
struct Chooser {
    rule: Advertising,
    /// Each host has a zone of its own to keep, not the group one between them.
    everywhere: bool,
    names: Names,
    notes: Notes,
    last: Option<Listing>,
    /// None until there is anything to do for this host.
    want: watch::Sender<Option<Wanted>>,
}

impl Chooser {
    async fn run(mut self, mut views: mpsc::Receiver<Box<View>>) {
        while let Some(view) = views.recv().await {
            self.look(&view);
        }
    }

    fn look(&mut self, view: &View) {
        let certain = view.phase == Phase::Member && view.quorum_met;
        let mine = self.everywhere
            || view.role == Role::Observer
            || (certain && view.leader == Some(view.host));
        if !certain {
            self.show(&Listing::default(), mine);
            self.tell(mine.then_some(Wanted::Unknown));
            return;
        }
        let listing = self.rule.choose(view, &self.advertised_last(view));
        let addresses = listing.advertised.keys().copied().collect();
        self.show(&listing, mine);
        if mine {
            self.note(&listing);
        }
        self.last = Some(listing);
        self.tell(mine.then_some(Wanted::Addresses(addresses)));
    }

    /// At the start everything counts as advertised before: hosts that are neither busy nor idle
    /// shall not all be left out because this agent has only just begun to look.
    fn advertised_last(&self, view: &View) -> BTreeSet<IpAddr> {
        match &self.last {
            Some(last) => last.advertised.keys().copied().collect(),
            None => view.addresses.iter().map(|address| address.address).collect(),
        }
    }

    fn tell(&self, wanted: Option<Wanted>) {
        self.want.send_if_modified(|current| {
            let news = *current != wanted;
            *current = wanted;
            news
        });
    }

    fn show(&self, listing: &Listing, mine: bool) {
        let mut shown = self.names.lock();
        shown.publishes = mine;
        shown.advertised = listing.advertised.keys().copied().collect();
        shown.withheld = listing.withheld.keys().copied().collect();
        let words = listing.withheld.iter().map(|(at, why)| (*at, why.word().to_owned()));
        shown.reasons = words.collect();
    }

    /// Writes down what has changed. Why an address is withheld may change without its coming back.
    fn note(&self, listing: &Listing) {
        let empty = Listing::default();
        let last = self.last.as_ref().unwrap_or(&empty);
        for (&address, &HostId(host)) in &listing.advertised {
            if !last.advertised.contains_key(&address) {
                self.notes.write(Event {
                    kind: "dns-advertised".to_owned(),
                    address: Some(address),
                    to: Some(host),
                    ..Event::default()
                });
            }
        }
        for (&address, why) in &listing.withheld {
            let before = last.withheld.get(&address).map(|why| why.word());
            if before != Some(why.word()) {
                self.notes.write(Event {
                    kind: "dns-withheld".to_owned(),
                    address: Some(address),
                    detail: Some(explained(*why)),
                    ..Event::default()
                });
            }
        }
    }
}

/// Why an address is not advertised, for people, with the word for it.
fn explained(why: Withheld) -> String {
    let words = match why {
        Withheld::NotOnline => "nobody answers for it".to_owned(),
        Withheld::Orphaned => "another than its preferred host answers for it".to_owned(),
        Withheld::Quiesced => "its host is quiesced".to_owned(),
        Withheld::Failing => "the tests of its host fail".to_owned(),
        Withheld::Busy(u64::MAX) => "its host has no capacity".to_owned(),
        Withheld::Busy(utilisation) => format!("its host is busy, at {utilisation}"),
    };
    format!("{words} ({})", why.word())
}

/// Sees to it that the zone says so.
struct Publisher {
    backend: Box<dyn Backend>,
    names: Names,
    notes: Notes,
    /// How often in a row it failed.
    failed: u32,
    /// How long a publication may take.
    limit: Duration,
    wanted: watch::Receiver<Option<Wanted>>,
}

impl Publisher {
    async fn run(mut self) {
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            let wait = match &wanted {
                None => None,
                Some(wanted) => Some(self.publish(wanted).await),
            };
            if !self.pause(wait.unwrap_or(Duration::MAX)).await {
                return;
            }
        }
    }

    /// Waits until there is news, or it is time to try again or to look after it. False once there
    /// is nobody who could want anything.
    async fn pause(&mut self, wait: Duration) -> bool {
        match tokio::time::timeout(wait, self.wanted.changed()).await {
            Ok(changed) => {
                self.failed = 0;
                changed.is_ok()
            }
            Err(_time) => true,
        }
    }

    /// How long to wait if there is no news.
    async fn publish(&mut self, wanted: &Wanted) -> Duration {
        let done = tokio::time::timeout(self.limit, self.backend.publish(wanted)).await;
        let problem = match done {
            Ok(Ok(serial)) => {
                self.names.lock().serial = serial;
                None
            }
            Ok(Err(error)) => Some(error.to_string()),
            Err(_late) => Some(format!("no success within {:?}", self.limit)),
        };
        let before = std::mem::replace(&mut self.names.lock().trouble, problem.clone());
        match problem {
            None => {
                self.failed = 0;
                if before.is_some() {
                    self.notes.write(event("dns-recovered", None));
                }
                REFRESH
            }
            Some(problem) => {
                if before.as_ref() != Some(&problem) {
                    self.notes.write(event("dns-trouble", Some(problem)));
                }
                let wait = RETRY * 2_u32.saturating_pow(self.failed.min(16));
                self.failed = self.failed.saturating_add(1);
                wait.min(MOST_RETRY)
            }
        }
    }
}

fn event(kind: &str, detail: Option<String>) -> Event {
    Event { kind: kind.to_owned(), detail, ..Event::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A publisher whose zone file cannot be written: there is no such directory.
    fn in_vain() -> (watch::Sender<Option<Wanted>>, Publisher) {
        let name = |text: &str| text.parse().unwrap();
        let file = checked::ZoneFile {
            file: "/nonexistent/zone".into(),
            nameservers: Vec::new(),
            reload: None,
            reload_timeout: Duration::from_secs(1),
            server: None,
        };
        let service = NameService {
            zone: name("a.b"),
            name: name("www.a.b"),
            ttl: 5,
            minimum: 1,
            backend: NameBackend::ZoneFile(file),
        };
        let (want, wanted) = watch::channel(None);
        let publisher = Publisher {
            backend: dns::backend(&service),
            names: Names(Arc::default()),
            notes: Notes { group: "web".to_owned(), log: Arc::default() },
            failed: 0,
            limit: LIMIT,
            wanted,
        };
        (want, publisher)
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_double_and_begin_anew_with_news() {
        let (want, mut publisher) = in_vain();
        let wanted = |n: u8| Wanted::Addresses([IpAddr::from([10, 0, 0, n])].into());
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            let span = publisher.publish(&wanted(1)).await;
            assert_eq!(span, Duration::from_secs(seconds));
            assert!(publisher.pause(span).await);
        }
        assert!(publisher.names.status().trouble.unwrap().contains("/nonexistent/zone"));
        want.send_replace(Some(wanted(2)));
        assert!(publisher.pause(MOST_RETRY).await);
        assert_eq!(publisher.publish(&wanted(2)).await, RETRY);
        drop(want);
        assert!(!publisher.pause(MOST_RETRY).await);
    }
}
