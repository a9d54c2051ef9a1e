//! What goes over the control networks: one message a datagram, in a fixed header
//! (`wire/header.rs`), encoded (`wire/codec.rs`) and sealed (`wire/seal.rs`).
//!
//! [`Encoder`] and [`Decoder`] do no IO and read no clock. What arrives passes, in this order:
//! form of the header, group, seal, whose message it is, replay window (`wire/replay.rs`), payload.
//! Only what passes all of them changes any state, and only the latest message of a host is handed
//! on: the copy that came over a second network, or one that was overtaken, is not.
//!
//! What the replay window cannot know is what was sent before this host started: a recording of a
//! host that is silent now may be played to a host that has not heard of it yet.

use std::collections::BTreeMap;
use std::fmt;

mod codec;
mod header;
mod refusal;
mod replay;
mod seal;
#[cfg(test)]
mod tests;

pub use codec::{MAX_ADDRESSES, MAX_CONTROL_ADDRESSES, MAX_HOSTS};
pub use header::GroupTag;
pub use refusal::{Refusal, Refusals};
pub use seal::{RandomError, new_key};

use crate::config::checked::Seal;
use crate::group::{HostId, Message};
use header::{HEADER_LEN, Header, Kind};
use replay::{Standing, Window};
use seal::{GroupKey, MessageKey, TAG_LEN};

/// Longest datagram, in bytes: fits a frame everywhere. What does not fit is said in parts.
pub const MAX_MESSAGE: usize = 1_400;

/// Most other hosts whose messages one decoder follows over its life. Those of further ones are
/// refused: to forget a host is to accept replays of its messages.
pub const MAX_SOURCES: usize = 4_096;

/// A message cannot be sent. Its number is not used up, but by [`WireError::Seal`].
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// There is no key to seal with.
    #[error("no group key")]
    NoKey,
    /// No random salt, without which a start cannot be told from the one before.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The message is another host's.
    #[error("a message of {0} cannot be sent by this host")]
    Source(HostId),
    /// Boot and sequence must ascend: the seal depends on it.
    #[error("boot {boot}, sequence {sequence} does not follow what was sent before")]
    Order {
        /// Boot epoch of the message.
        boot: u64,
        /// Its sequence number.
        sequence: u64,
    },
    /// A list is longer than the wire allows.
    #[error("{length} {what}, of at most {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        length: usize,
        /// How many may be.
        limit: usize,
    },
    /// The datagram would be longer than [`MAX_MESSAGE`].
    #[error("message of {0} bytes, of at most {MAX_MESSAGE}")]
    TooLong(usize),
    /// The codec failed.
    #[error("encoding: {0}")]
    Encode(#[source] bincode::error::EncodeError),
    /// The cipher failed.
    #[error("sealing failed")]
    Seal,
}

/// Turns this host's messages for one group into datagrams.
pub struct Encoder {
    tag: GroupTag,
    host: HostId,
    salt: u64,
    group_key: Option<GroupKey>,
    message_key: Option<MessageKey>,
    /// Boot and sequence of the last message.
    last: (u64, u64),
    buffer: Vec<u8>,
}

impl Encoder {
    /// For the messages of `host`, from now until the agent ends. With several keys the first
    /// one seals.
    ///
    /// # Errors
    /// [`WireError::NoKey`], [`WireError::Random`].
    pub fn new(tag: GroupTag, host: HostId, seal: &Seal) -> Result<Self, WireError> {
        Self::with_salt(tag, host, seal, seal::new_salt()?)
    }

    /// As [`new`](Self::new), with a salt that must never be used twice.
    fn with_salt(tag: GroupTag, host: HostId, seal: &Seal, salt: u64) -> Result<Self, WireError> {
        let group_key = match seal {
            Seal::Keys(keys) => Some(GroupKey::new(keys.first().ok_or(WireError::NoKey)?)),
            Seal::Insecure => None,
        };
        let buffer = Vec::with_capacity(MAX_MESSAGE);
        Ok(Self { tag, host, salt, group_key, message_key: None, last: (0, 0), buffer })
    }

    /// What tells this start of the host from all others, for [`Decoder::new`].
    #[must_use]
    pub const fn salt(&self) -> u64 {
        self.salt
    }

    /// The datagram for `message`.
    ///
    /// # Errors
    /// See [`WireError`].
    pub fn encode(&mut self, message: &Message) -> Result<&[u8], WireError> {
        let Message { source, boot, sequence, ref body } = *message;
        if source != self.host {
            return Err(WireError::Source(source));
        }
        if (boot, sequence) <= self.last || sequence == 0 {
            return Err(WireError::Order { boot, sequence });
        }
        let header = Header {
            kind: Kind::of(body),
            sealed: self.group_key.is_some(),
            tag: self.tag,
            source,
            boot,
            salt: self.salt,
            sequence,
        };
        self.buffer.clear();
        header.write(&mut self.buffer);
        codec::encode(body, &mut self.buffer)?;
        let tag_len = if header.sealed { TAG_LEN } else { 0 };
        let length = self.buffer.len() + tag_len;
        if length > MAX_MESSAGE {
            return Err(WireError::TooLong(length));
        }
        // Before the cipher runs: the number is used up even if that fails.
        self.last = (boot, sequence);
        self.seal(&header)?;
        Ok(&self.buffer)
    }

    fn seal(&mut self, header: &Header) -> Result<(), WireError> {
        let Some(group_key) = &self.group_key else { return Ok(()) };
        let key = match self.message_key.take() {
            Some(key) if key.fits(header) => key,
            Some(_) | None => group_key.derive(header).ok_or(WireError::Seal)?,
        };
        let halves = self.buffer.split_at_mut_checked(HEADER_LEN);
        let tag = halves.and_then(|(head, body)| key.seal(header.sequence, head, body));
        self.buffer.extend_from_slice(&tag.ok_or(WireError::Seal)?);
        self.message_key = Some(key);
        Ok(())
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut encoder = f.debug_struct("Encoder");
        encoder.field("tag", &self.tag).field("host", &self.host).finish_non_exhaustive()
    }
}

/// What is remembered of one other host.
struct Source {
    window: Window,
    /// The key of its latest message.
    key: Option<MessageKey>,
}

/// Turns datagrams into messages of other hosts of one group.
pub struct Decoder {
    tag: GroupTag,
    host: HostId,
    salt: u64,
    /// None: the group is not sealed.
    keys: Option<Vec<GroupKey>>,
    sources: BTreeMap<HostId, Source>,
    scratch: Vec<u8>,
}

impl Decoder {
    /// For a group of `host`, whose [`Encoder`] has the salt `own_salt`. Any of the keys opens.
    #[must_use]
    pub fn new(tag: GroupTag, host: HostId, own_salt: u64, seal: &Seal) -> Self {
        let keys = group_keys(seal);
        let scratch = Vec::with_capacity(MAX_MESSAGE);
        Self { tag, host, salt: own_salt, keys, sources: BTreeMap::new(), scratch }
    }

    /// Other keys from now on, and another [`Encoder`]. What was seen of the other hosts is kept;
    /// a key that is not among the new ones opens nothing any more.
    pub fn rekey(&mut self, own_salt: u64, seal: &Seal) {
        self.salt = own_salt;
        self.keys = group_keys(seal);
        for source in self.sources.values_mut() {
            source.key = None;
        }
    }

    /// The message in a datagram, where it is genuine, another host's and the latest of it.
    ///
    /// # Errors
    /// Why it is not. Nothing was changed, but that a late message is known to have been seen.
    pub fn decode(&mut self, datagram: &[u8]) -> Result<Message, Refusal> {
        if datagram.len() > MAX_MESSAGE {
            return Err(Refusal::Oversized);
        }
        let (header, head, body) = Header::parse(datagram)?;
        if header.tag != self.tag {
            return Err(Refusal::Group);
        }
        let Header { source, boot, sequence, .. } = header;
        let new_key = self.open(&header, head, body)?;
        if source == self.host {
            return Err(if header.salt == self.salt { Refusal::Own } else { Refusal::IdClash });
        }
        let standing = self.judge(&header)?;
        let body = codec::decode(header.kind, &self.scratch)?;
        let known = self
            .sources
            .entry(source)
            .or_insert_with(|| Source { window: Window::new(boot, sequence), key: None });
        known.window.note(boot, sequence);
        if standing == Standing::Late {
            return Err(Refusal::Late(source));
        }
        known.key = new_key.or_else(|| known.key.take());
        Ok(Message { source, boot, sequence, body })
    }

    /// Leaves the payload in clear in `scratch`. Returns the key if it was not the one known of
    /// the source.
    fn open(
        &mut self,
        header: &Header,
        head: &[u8; HEADER_LEN],
        body: &[u8],
    ) -> Result<Option<MessageKey>, Refusal> {
        let keys = match (&self.keys, header.sealed) {
            (Some(keys), true) => keys,
            (Some(_), false) => return Err(Refusal::Unsealed),
            (None, true) => return Err(Refusal::Sealed),
            (None, false) => {
                self.scratch.clear();
                self.scratch.extend_from_slice(body);
                return Ok(None);
            }
        };
        if body.len() < TAG_LEN {
            return Err(Refusal::Truncated);
        }
        let known = self.sources.get(&header.source).and_then(|source| source.key.as_ref());
        if let Some(key) = known.filter(|key| key.fits(header)) {
            let opened = open_with(key, header, head, body, &mut self.scratch);
            return if opened { Ok(None) } else { Err(Refusal::Forged) };
        }
        // The key is kept only once the message has passed: forged headers cost no memory.
        let mut derived = keys.iter().filter_map(|key| key.derive(header));
        let found = derived.find(|key| open_with(key, header, head, body, &mut self.scratch));
        found.map(Some).ok_or(Refusal::Forged)
    }

    /// Whether the message is fresh or late; else why it is neither.
    fn judge(&self, header: &Header) -> Result<Standing, Refusal> {
        let source = header.source;
        let Some(known) = self.sources.get(&source) else {
            let room = self.sources.len() < MAX_SOURCES;
            return if room { Ok(Standing::Fresh) } else { Err(Refusal::TooManySources) };
        };
        match known.window.judge(header.boot, header.sequence) {
            standing @ (Standing::Fresh | Standing::Late) => Ok(standing),
            Standing::Duplicate => Err(Refusal::Duplicate(source)),
            Standing::Replayed => Err(Refusal::Replayed),
            Standing::OldBoot => Err(Refusal::OldBoot),
        }
    }
}

fn group_keys(seal: &Seal) -> Option<Vec<GroupKey>> {
    match seal {
        Seal::Keys(keys) => Some(keys.iter().map(GroupKey::new).collect()),
        Seal::Insecure => None,
    }
}

/// Whether `key` opens `body`; if so, `scratch` is the payload in clear.
fn open_with(
    key: &MessageKey,
    header: &Header,
    head: &[u8; HEADER_LEN],
    body: &[u8],
    scratch: &mut Vec<u8>,
) -> bool {
    scratch.clear();
    scratch.extend_from_slice(body);
    let Some(plain) = key.open(header.sequence, head, scratch) else { return false };
    let length = plain.len();
    scratch.truncate(length);
    true
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut decoder = f.debug_struct("Decoder");
        decoder.field("tag", &self.tag).field("host", &self.host).finish_non_exhaustive()
    }
}
