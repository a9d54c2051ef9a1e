//! Moves that an operator asks for. Any host can be asked. It passes the request on to its leader,
//! again at each heartbeat until something happens, and watches until the address is online where
//! it was wanted, the leader refuses, or it has taken too long. The leader remembers nothing of it
//! but where the address is to go once its holder has released it.

use std::fmt;
use std::net::IpAddr;

use rais_common::time::Time;
use serde::{Deserialize, Serialize};

use super::{Action, AddressState, Body, Group, HostId, MoveAnswer, MoveRequest, Served};

/// Why an address was not moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MoveRefusal {
    /// It is no address of the leader's group.
    UnknownAddress,
    /// No such host is in sight of the leader.
    UnknownHost,
    /// The host's tests fail, or it is an observer.
    NotOk,
    /// The host is quiesced.
    Quiesced,
    /// The host is joining or leaving, or does not follow the leader yet.
    NotMember,
    /// The host tried lately to take it, and could not.
    Refuses,
    /// The host has it.
    HasIt,
    /// It is being acquired or released, or nobody serves it.
    Moving,
    /// Its preferred host is available, and would have it back at once or soon.
    FailsBack,
    /// Too few hosts are in sight of the leader.
    NoQuorum,
    /// The host that was asked follows nobody.
    NoLeader,
    /// The host could not take it after all, and another has it now.
    Elsewhere,
    /// This host still waits for the end of another move.
    Busy,
    /// It was not done in the time that a release and an acquisition may take.
    Late,
}

impl fmt::Display for MoveRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownAddress => "it is not an address of the group; `rais status` lists them",
            Self::UnknownHost => {
                "the leader sees no host with that id; `rais status` lists those in sight"
            }
            Self::NotOk => {
                "that host is not OK: its tests fail, or it is an observer; `rais status` there \
                 says which"
            }
            Self::Quiesced => "that host is quiesced; `rais resume` there ends it",
            Self::NotMember => "that host is just joining or leaving; try again in a moment",
            Self::Refuses => {
                "that host tried to acquire it a short while ago and failed; `rais events` there \
                 says why"
            }
            Self::HasIt => "that host has it already",
            Self::Moving => {
                "it is on its way already, or nobody can serve it now; see `rais status`"
            }
            Self::FailsBack => {
                "it belongs to another host, which is available and would take it back; quiesce \
                 that host first (`rais quiesce` there), or set `failback = \"never\"`"
            }
            Self::NoQuorum => {
                "the leader sees fewer hosts than the quorum asks for; start others, `rais status` \
                 lists those in sight"
            }
            Self::NoLeader => "this host knows no leader; try again in a moment",
            Self::Elsewhere => {
                "it was released, but that host could not take it and another did; `rais events` \
                 says why"
            }
            Self::Busy => "this host still waits for the end of another move; try again then",
            Self::Late => {
                "it has taken too long; `rais status` and `rais events` say how it stands"
            }
        })
    }
}

/// A move that was asked for here.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct Asked {
    address: IpAddr,
    to: HostId,
    /// Who had it then.
    from: Option<HostId>,
    again: Time,
    deadline: Time,
}

impl Group {
    /// The operator asks here.
    pub(super) fn ask_move(&mut self, now: Time, address: IpAddr, to: HostId) {
        let from = self.online_on(address);
        let deadline = now + self.settings.move_limit();
        self.asked = Some(Asked { address, to, from, again: now, deadline });
    }

    /// Somebody, perhaps this host itself, asks the leader. Not heard by one that does not lead:
    /// the asker tries again with whomever it follows then.
    pub(super) fn move_requested(&mut self, now: Time, asker: HostId, request: MoveRequest) {
        if request.leader == self.settings.host && self.leads() {
            self.requested = Some((asker, request));
            // Answered in this turn: an answer that leaves just before the heartbeat may be
            // overtaken by it, and is not heard then.
            self.stirred = true;
            self.decide_from = now;
        }
    }

    /// The leader has refused.
    pub(super) fn move_answered(
        &mut self,
        from: HostId,
        answer: &MoveAnswer,
        out: &mut Vec<Action>,
    ) {
        let ours = self.asked.filter(|asked| {
            asked.address == answer.address
                && answer.to == self.settings.host
                && (self.leader == Some(from) || from == self.settings.host)
        });
        let Some(asked) = ours else { return };
        // A request that was repeated may come after what it asked for was done.
        let done = answer.refusal == MoveRefusal::HasIt && asked.from != Some(asked.to);
        self.end_move(if done { Ok(()) } else { Err(answer.refusal) }, out);
    }

    /// What becomes of the move that was asked for here.
    pub(super) fn watch_move(&mut self, now: Time, out: &mut Vec<Action>) {
        let Some(asked) = self.asked else { return };
        let holder = self.online_on(asked.address);
        let arrived = holder == Some(asked.to) && asked.from != holder;
        // Where nobody had it at first, somebody may by now.
        let asked = Asked { from: asked.from.or(holder), ..asked };
        self.asked = Some(asked);
        if arrived {
            return self.end_move(Ok(()), out);
        }
        if holder.is_some() && holder != asked.from {
            return self.end_move(Err(MoveRefusal::Elsewhere), out);
        }
        if now >= asked.deadline {
            return self.end_move(Err(MoveRefusal::Late), out);
        }
        let Some(leader) = self.leader else {
            return self.end_move(Err(MoveRefusal::NoLeader), out);
        };
        // Once its holder has it no more, the leader is at it.
        if now < asked.again || holder != asked.from {
            return;
        }
        self.asked = Some(Asked { again: now + self.settings.heartbeat, ..asked });
        let request = MoveRequest { leader, address: asked.address, to: asked.to };
        if leader == self.settings.host {
            self.move_requested(now, leader, request);
        } else {
            let message = self.message(Body::Move(request));
            out.push(Action::Send(message));
        }
    }

    /// Tells the asker why not.
    pub(super) fn refuse_move(
        &mut self,
        asker: HostId,
        address: IpAddr,
        refusal: MoveRefusal,
        out: &mut Vec<Action>,
    ) {
        let answer = MoveAnswer { to: asker, address, refusal };
        if asker == self.settings.host {
            self.move_answered(asker, &answer, out);
        } else {
            let message = self.message(Body::MoveRefused(answer));
            out.push(Action::Send(message));
        }
    }

    fn end_move(&mut self, result: Result<(), MoveRefusal>, out: &mut Vec<Action>) {
        self.asked = None;
        out.push(Action::MoveEnded(result));
    }

    /// The host on which an address is online, if there is just one.
    fn online_on(&self, address: IpAddr) -> Option<HostId> {
        let online = |served: &[Served]| {
            served.iter().any(|s| s.address == address && s.state == AddressState::Online)
        };
        let own = online(&self.holdings.served()).then_some(self.settings.host);
        let others =
            self.members.iter().filter(|(_, peer)| online(&peer.info.served)).map(|(id, _)| id);
        let mut all = own.into_iter().chain(others);
        let first = all.next();
        first.filter(|_| all.next().is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::MoveRefusal;

    // why → what the operator reads: the reason, then what to do or where to look
    #[test]
    fn each_refusal_says_why_and_what_to_do() {
        use MoveRefusal::*;
        let cases = [
            (UnknownAddress, "it is not an address of the group; `rais status`"),
            (UnknownHost, "the leader sees no host with that id; `rais status`"),
            (
                NotOk,
                "that host is not OK: its tests fail, or it is an observer; `rais status` there",
            ),
            (Quiesced, "that host is quiesced; `rais resume` there"),
            (NotMember, "that host is just joining or leaving; try again in a moment"),
            (Refuses, "that host tried to acquire it a short while ago and failed; `rais events`"),
            (HasIt, "that host has it already"),
            (Moving, "it is on its way already, or nobody can serve it now; see `rais status`"),
            (FailsBack, "it belongs to another host, which is available and would take it back;"),
            (NoQuorum, "the leader sees fewer hosts than the quorum asks for; start others"),
            (NoLeader, "this host knows no leader; try again in a moment"),
            (Elsewhere, "it was released, but that host could not take it and another did; `rais"),
            (Busy, "this host still waits for the end of another move; try again then"),
            (Late, "it has taken too long; `rais status` and `rais events`"),
        ];
        for (refusal, said) in cases {
            let text = refusal.to_string();
            assert!(text.starts_with(said), "{refusal:?}: {text}");
        }
    }
}
