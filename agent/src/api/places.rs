//! Who is connected, and how many there may be.
//!
//! Root and the agent's own user are never kept out by others: they have places of their own. The
//! others share theirs, each user having so many at most, and are answered one at a time: however
//! many ask, one of the runtime's threads is left to the agent's own work.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use super::{MAX_CLIENTS, MAX_OF_USER};

/// Time after an answer to somebody who may only read before the next such answer is made. A
/// thousand a second are enough for people and monitoring, and no load.
const PACE: Duration = Duration::from_millis(1);

/// Whoever is at the other end, as the kernel says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    /// None where the kernel does not say.
    uid: Option<u32>,
    /// The agent's own.
    own: u32,
}

impl Peer {
    pub(super) fn of(stream: &UnixStream) -> Self {
        let uid = stream.peer_cred().ok().map(|peer| peer.uid());
        Self { uid, own: nix::unistd::geteuid().as_raw() }
    }

    /// It is root or the agent's own user.
    pub(super) fn may_change(self) -> bool {
        self.uid.is_some_and(|uid| uid == 0 || uid == self.own)
    }

    /// Why it may not change anything.
    pub(super) fn refusal(self) -> String {
        let who = self.uid.map_or("somebody unknown".to_owned(), |uid| format!("user id {uid}"));
        format!("only root and the agent's own user may do this; it was asked by {who}")
    }

    #[cfg(test)]
    pub(super) fn user(uid: u32) -> Self {
        Self { uid: Some(uid), own: 0 }
    }
}

/// The places there are.
#[derive(Debug)]
pub(super) struct Places {
    changing: Arc<Semaphore>,
    reading: Arc<Semaphore>,
    /// How many places each user who may only read has taken.
    users: Arc<Mutex<BTreeMap<Option<u32>, usize>>>,
    /// One answer at a time, for those who may only read.
    answers: Arc<Semaphore>,
}

impl Default for Places {
    fn default() -> Self {
        let places = || Arc::new(Semaphore::new(MAX_CLIENTS));
        let answers = Arc::new(Semaphore::new(1));
        Self { changing: places(), reading: places(), users: Arc::default(), answers }
    }
}

impl Places {
    /// A place for `peer`, until it is dropped.
    ///
    /// The error is the reason why there is none, in words.
    pub(super) fn take(&self, peer: Peer) -> Result<Place, String> {
        let room = if peer.may_change() { &self.changing } else { &self.reading };
        let full = |_| format!("{MAX_CLIENTS} clients are connected already; try again later");
        let permit = Arc::clone(room).try_acquire_owned().map_err(full)?;
        if peer.may_change() {
            return Ok(Place { _permit: permit, user: None, answers: None });
        }
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = users.entry(peer.uid).or_default();
        if *taken >= MAX_OF_USER {
            return Err(format!(
                "{MAX_OF_USER} clients of this user are connected already; end one of them first"
            ));
        }
        *taken += 1;
        let user = Some(OfUser { uid: peer.uid, users: Arc::clone(&self.users) });
        Ok(Place { _permit: permit, user, answers: Some(Arc::clone(&self.answers)) })
    }
}

/// A place that is taken.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    #[allow(dead_code, reason = "it is counted until it is dropped")]
    user: Option<OfUser>,
    /// None for those who wait for nobody.
    answers: Option<Arc<Semaphore>>,
}

impl Place {
    /// Waits until an answer may be made, which takes until what is returned is dropped.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        let answers = self.answers.as_ref()?;
        // It is never closed.
        let turn = answers.acquire().await.ok();
        tokio::time::sleep(PACE).await;
        turn
    }
}

/// One place of a user.
#[derive(Debug)]
struct OfUser {
    uid: Option<u32>,
    users: Arc<Mutex<BTreeMap<Option<u32>, usize>>>,
}

impl Drop for OfUser {
    fn drop(&mut self) {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = users.get_mut(&self.uid) {
            *taken = taken.saturating_sub(1);
        }
        users.retain(|_, taken| *taken > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn readers_leave_room_for_one_another_and_for_root() {
        let places = Places::default();
        let mut held: Vec<Place> = Vec::new();
        for uid in 1_000..1_000 + u32::try_from(MAX_CLIENTS / MAX_OF_USER).unwrap() {
            for _ in 0..MAX_OF_USER {
                held.push(places.take(Peer::user(uid)).unwrap());
            }
            let one_more = places.take(Peer::user(uid)).unwrap_err();
            assert!(one_more.contains("clients"), "{one_more}");
        }
        let full = places.take(Peer::user(2_000)).unwrap_err();
        assert_eq!(full, "32 clients are connected already; try again later");
        let root: Vec<Place> =
            (0..MAX_CLIENTS).map(|_| places.take(Peer::user(0)).unwrap()).collect();
        assert!(places.take(Peer::user(0)).is_err());
        assert!(root.iter().all(|place| place.answers.is_none()), "root waits for nobody");

        drop(held.pop());
        let back = places.take(Peer::user(2_000)).unwrap();
        drop((held, root, back));
        assert!(places.users.lock().unwrap().is_empty());
    }
}
