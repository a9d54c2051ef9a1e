//! What this host tells the others: its heartbeats, and what does not fit them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use rais_common::time::Time;

use super::parts::{self, Told};
use super::{
    ASK_LIMIT, Action, Ask, Body, Group, HostId, HostInfo, Info, Known, Listed, Part, PartOf,
    Record, Sum,
};

/// Where not all hosts heard fit a heartbeat, so many are in each, in turn. Others say the rest.
const KNOWN_AT_ONCE: usize = 8;

/// A part is repeated with every so many heartbeats, for those who cannot ask.
const REPEAT_EVERY: u64 = 16;

/// How long changes are collected for each part that may have to be said again: where thousands of
/// addresses change one after the other, nearly all parts change each time, and sending them for
/// each change would take longer than the changes.
const COLLECT: Duration = Duration::from_micros(40);

/// So few addresses may fit a heartbeat, at five bytes each.
const FEW: usize = parts::LISTS_ROOM / 5;

/// Most parts of a database sent for questions in a quarter of a heartbeat: who misses more asks
/// again. Of lists there are no fewer, and no more than can be sent in that time.
const ANSWER_LIMIT: usize = 64;

/// Most questions at once.
const ASK_AT_ONCE: usize = 16;

/// What this host remembers of what it has told in parts.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Telling {
    /// Its lists; none where they fit its heartbeats.
    told: Option<Told>,
    /// What is listed of these may have changed since, apart from what is refused.
    changed: BTreeSet<IpAddr>,
    /// All of them may have.
    stale: bool,
    /// What of them was refused then, ascending.
    refused: Vec<IpAddr>,
    /// Since when it has sent how many parts for questions.
    answered: (Option<Time>, usize),
    /// Slices of the lists that somebody misses and that are still to be sent.
    wanted: BTreeSet<u16>,
    /// Which host heard is said next, and which part is repeated next.
    next_known: usize,
    next_part: u64,
}

impl Telling {
    /// What this host lists of these addresses may have changed.
    pub fn listed_anew(&mut self, addresses: BTreeSet<IpAddr>) {
        // Where they fit the heartbeat it says them anyhow.
        if self.told.is_some() {
            self.changed.extend(addresses);
        }
    }

    /// All of what this host lists may have changed.
    pub fn lists_changed(&mut self) {
        self.stale = self.told.is_some();
    }
}

impl Group {
    /// Whether what has changed is to be told now and not with the next heartbeat on schedule.
    /// Where it takes parts, changes are collected for a while.
    pub(super) fn tells_at_once(&self, now: Time) -> bool {
        now >= self.last_heartbeat + self.tell_pause()
    }

    /// When what has changed is to be told.
    pub(super) fn tells_changes_at(&self) -> Option<Time> {
        self.changed.then(|| self.last_heartbeat + self.tell_pause())
    }

    fn tell_pause(&self) -> Duration {
        let Some(told) = &self.telling.told else { return Duration::ZERO };
        let heartbeat = self.settings.heartbeat;
        let parts = u32::try_from(told.sums.len()).unwrap_or(u32::MAX);
        COLLECT.saturating_mul(parts).max(heartbeat / 4).min(heartbeat)
    }

    pub(super) fn heartbeat(&mut self, now: Time, out: &mut Vec<Action>) {
        if now >= self.next_heartbeat {
            // On schedule, unless that lies further back than one interval.
            let next = self.next_heartbeat + self.pace.heartbeat;
            self.next_heartbeat = if next > now { next } else { now + self.pace.heartbeat };
        }
        self.changed = false;
        self.last_heartbeat = now;
        let (host, lists) = self.tell_lists(now, out);
        let known = self.tell_known(now);
        let used = parts::standing_len(&host) + parts::lists_len(&host);
        let used = used + known.iter().map(parts::known_len).sum::<usize>();
        let (database, records) = self.tell_database(now, parts::ROOM.saturating_sub(used + 48));
        if records.is_some() || lists.is_some() {
            self.repeat_part(now, out);
        }
        let knows_more = known.len() < self.members.len();
        let lease = self.promised_lease();
        let info = Info { host, lists, known, knows_more, database, records, lease };
        let message = self.message(Body::Info(Box::new(info)));
        self.sent.is_to_be((message.boot, message.sequence));
        let lease_until = self.lease(now);
        // Without a lease there is nothing that others could have taken over meanwhile.
        let renew_before = self.sent_until.unwrap_or(Time::END);
        out.push(Action::Heartbeat { message, lease_until, renew_before });
    }

    /// Where the lists do not fit the heartbeat, sends what has changed of them in parts, before
    /// it, and leaves their sum.
    fn tell_lists(&mut self, now: Time, out: &mut Vec<Action>) -> (HostInfo, Option<Sum>) {
        let refused = self.holdings.refused(now);
        if let Some(sum) = self.tell_changes(&refused, out) {
            let host = HostInfo { preferred: Vec::new(), ..self.own_standing() };
            return (host, Some(sum));
        }
        let mut host = self.own_info(now);
        self.telling.stale = false;
        self.telling.changed.clear();
        self.telling.wanted.clear();
        if parts::lists_len(&host) <= parts::LISTS_ROOM {
            self.telling.told = None;
            self.telling.refused = Vec::new();
            return (host, None);
        }
        let before = self.telling.told.take();
        let told = Told::new(parts::listed(&host), before.as_ref().map_or(0, |told| told.bits));
        self.send_slices(&told, &told.changed_since(before.as_ref()), out);
        let sum = told.sum();
        self.telling.told = Some(told);
        self.telling.refused = refused;
        (host.preferred, host.served, host.refused) = Default::default();
        (host, Some(sum))
    }

    /// Where lists were told in parts, sends those parts that have changed. The sum of all; none
    /// where all is to be told anew, be it in a heartbeat again.
    fn tell_changes(&mut self, refused: &[IpAddr], out: &mut Vec<Action>) -> Option<Sum> {
        let Telling { told, changed, stale, refused: before, .. } = &mut self.telling;
        let count = told.as_ref().filter(|_| !*stale)?.len();
        if before != refused {
            changed.extend(before.iter().chain(refused));
        }
        if count <= FEW && !changed.is_empty() {
            return None;
        }
        let changed = std::mem::take(changed);
        *before = refused.to_vec();
        let mut told = told.take()?;
        let change = |address| told.change(address, self.listed(address, refused));
        let slices: BTreeSet<u16> = changed.into_iter().filter_map(change).collect();
        let slices: Vec<u16> = slices.into_iter().collect();
        // Where one has grown too long all are cut smaller.
        let sum = told.fits(&slices).then(|| {
            self.send_slices(&told, &slices, out);
            told.sum()
        });
        self.telling.told = Some(told);
        sum
    }

    /// What this host lists of an address.
    fn listed(&self, address: IpAddr, refused: &[IpAddr]) -> Option<Listed> {
        let preferred = self.settings.preferred.contains(&address);
        let refused = refused.binary_search(&address).is_ok();
        let served = self.holdings.listed_as(address);
        let listed = preferred || refused || served.is_some();
        listed.then_some(Listed { address, preferred, refused, served })
    }

    fn send_slices(&mut self, told: &Told, indices: &[u16], out: &mut Vec<Action>) {
        for (slice, entries) in told.slices(indices) {
            let message = self.message(Body::Part(Part::Lists(slice, entries)));
            out.push(Action::Send(message));
        }
    }

    /// What it has heard of the others: of all, or of its leader and some.
    fn tell_known(&mut self, now: Time) -> Vec<Known> {
        let all = self.members.known(now);
        if all.iter().map(parts::known_len).sum::<usize>() <= parts::KNOWN_ROOM {
            return all;
        }
        let start = self.telling.next_known % all.len();
        self.telling.next_known = start + KNOWN_AT_ONCE;
        let turn = all.iter().cycle().skip(start).take(KNOWN_AT_ONCE);
        // The leader waits for its orders to be acknowledged.
        let leader = all.iter().filter(|known| Some(known.id) == self.leader);
        let mut known: Vec<Known> = turn.chain(leader).copied().collect();
        known.sort_unstable_by_key(|known| known.id);
        known.dedup_by_key(|known| known.id);
        known
    }

    /// The database, or its sum.
    fn tell_database(&self, now: Time, room: usize) -> (Vec<Record>, Option<Sum>) {
        let sum = self.database.sum();
        // The shortest entry has some ten bytes.
        if self.database.len() > room / 10 {
            return (Vec::new(), Some(sum));
        }
        let records = self.database.records(now);
        if records.iter().map(parts::record_len).sum::<usize>() <= room {
            (records, None)
        } else {
            (Vec::new(), Some(sum))
        }
    }

    /// Now and then says a part again.
    fn repeat_part(&mut self, now: Time, out: &mut Vec<Action>) {
        self.telling.next_part += 1;
        if !self.telling.next_part.is_multiple_of(REPEAT_EVERY) {
            return;
        }
        let turn = self.telling.next_part / REPEAT_EVERY;
        let index = |bits: u8| u16::try_from(turn % (1 << bits)).unwrap_or(0);
        if let Some(told) = self.telling.told.take() {
            self.send_slices(&told, &[index(told.bits)], out);
            self.telling.told = Some(told);
        }
        let bits = self.database.sum().bits;
        self.send_records(now, bits, &[index(bits)], out);
    }

    /// Sends what the database has in these slices of 2^bits.
    fn send_records(&mut self, now: Time, bits: u8, slices: &[u16], out: &mut Vec<Action>) {
        let mut records = self.database.records(now);
        records.retain(|record| slices.contains(&parts::index(record.address, bits)));
        for records in parts::packed(records, parts::record_len) {
            let message = self.message(Body::Part(Part::Records(records)));
            out.push(Action::Send(message));
        }
    }

    /// Somebody has missed parts. Everybody hears the answer, so that so many in a quarter of a
    /// heartbeat are enough.
    pub(super) fn answer(&mut self, now: Time, ask: &Ask, out: &mut Vec<Action>) {
        if ask.to != self.settings.host {
            return;
        }
        match ask.of {
            PartOf::Lists => {
                let told = self.telling.told.as_ref();
                // Asked with other slices: whoever asks will learn the right ones.
                if let Some(told) = told.filter(|told| told.bits == ask.bits) {
                    self.telling.wanted.extend(wanted(ask, &told.sums));
                    self.send_wanted(now, out);
                }
            }
            PartOf::Database => {
                let mut slices = wanted(ask, &self.database.sums(ask.bits));
                let (since, sent) = self.answered(now);
                slices.truncate(ANSWER_LIMIT.saturating_sub(sent));
                let before = out.len();
                self.send_records(now, ask.bits, &slices, out);
                self.telling.answered = (since, sent + out.len() - before);
            }
        }
    }

    /// Sends what somebody misses of the lists, as much as there is time for; the rest later.
    pub(super) fn send_wanted(&mut self, now: Time, out: &mut Vec<Action>) {
        let (since, sent) = self.answered(now);
        let room = (self.settings.heartbeat / 4).as_nanos() / COLLECT.as_nanos();
        let room = usize::try_from(room).unwrap_or(usize::MAX).max(ANSWER_LIMIT);
        let Some(told) = self.telling.told.take() else { return };
        let wanted = &mut self.telling.wanted;
        let left = room.saturating_sub(sent);
        let next = wanted.iter().nth(left).copied();
        let rest = next.map_or_else(BTreeSet::new, |next| wanted.split_off(&next));
        let some: Vec<u16> = std::mem::replace(wanted, rest).into_iter().collect();
        self.send_slices(&told, &some, out);
        self.telling.answered = (since, sent + some.len());
        self.telling.told = Some(told);
    }

    /// When more of what somebody misses may be sent.
    pub(super) fn sends_wanted_at(&self) -> Option<Time> {
        let since = self.telling.answered.0.filter(|_| !self.telling.wanted.is_empty())?;
        Some(since + self.settings.heartbeat / 4)
    }

    /// Since when how many parts were sent for questions, in this quarter of a heartbeat.
    fn answered(&self, now: Time) -> (Option<Time>, usize) {
        let (since, sent) = self.telling.answered;
        let over = since.is_none_or(|since| now >= since + self.settings.heartbeat / 4);
        if over { (Some(now), 0) } else { (since, sent) }
    }

    /// Asks a host for what differs from these sums.
    pub(super) fn ask(
        &mut self,
        to: HostId,
        of: PartOf,
        bits: u8,
        sums: &[u64],
        out: &mut Vec<Action>,
    ) {
        let sums = parts::short_sums(sums);
        for (n, sums) in sums.chunks(ASK_LIMIT).enumerate().take(ASK_AT_ONCE) {
            let Ok(first) = u16::try_from(n * ASK_LIMIT) else { return };
            let ask = Ask { to, of, bits, first, sums: sums.to_vec() };
            let message = self.message(Body::Ask(ask));
            out.push(Action::Send(message));
        }
    }
}

/// The slices whose sums are not those of the question.
fn wanted(ask: &Ask, sums: &[u64]) -> Vec<u16> {
    let own = parts::short_sums(sums);
    let slices = (ask.first..=u16::MAX).zip(&ask.sums);
    slices.filter(|&(n, sum)| own.get(usize::from(n)) != Some(sum)).map(|(n, _)| n).collect()
}
