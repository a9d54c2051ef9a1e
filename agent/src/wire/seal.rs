//! Authentication and encryption of messages.
//!
//! AES-256-GCM (RFC 5116) must never see one nonce twice under one key. Here that follows from
//! the construction: each (group key, group, source, boot, salt) has a key of its own, by
//! HKDF-SHA256 (RFC 5869), and the nonce is the sequence number, which the encoder makes ascend.
//! The salt is random at each start, so that not even a clock set back makes a key return.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Prk, Salt};
use ring::rand::{SecureRandom, SystemRandom};

use super::header::{HEADER_LEN, Header, mapped};
use crate::config::checked::Key;

/// Bytes that the seal adds to a datagram.
pub(super) const TAG_LEN: usize = 16;

/// The system gave no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random bytes")]
pub struct RandomError;

/// A new group key, from the system's random source.
///
/// # Errors
/// The system gave no random bytes.
pub fn new_key() -> Result<Key, RandomError> {
    random().map(Key)
}

/// A number that no other start of any host has.
pub(super) fn new_salt() -> Result<u64, RandomError> {
    random().map(u64::from_be_bytes)
}

fn random<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_unspecified| RandomError)?;
    Ok(bytes)
}

/// A group key, ready to derive from.
pub(super) struct GroupKey(Prk);

impl GroupKey {
    pub(super) fn new(key: &Key) -> Self {
        Self(Salt::new(HKDF_SHA256, b"rais wire 1").extract(&key.0))
    }

    /// The key of the messages that share `header`'s group, source, boot and salt. `None` cannot
    /// happen: HKDF yields 32 bytes for any input.
    pub(super) fn derive(&self, header: &Header) -> Option<MessageKey> {
        let source = mapped(header.source.0);
        let boot = header.boot.to_be_bytes();
        let salt = header.salt.to_be_bytes();
        let info: [&[u8]; 4] = [&header.tag.0, &source, &boot, &salt];
        let key = UnboundKey::from(self.0.expand(&info, &AES_256_GCM).ok()?);
        let key = Box::new(LessSafeKey::new(key));
        Some(MessageKey { boot: header.boot, salt: header.salt, key })
    }
}

/// The key of one source's messages in one boot.
pub(super) struct MessageKey {
    boot: u64,
    salt: u64,
    key: Box<LessSafeKey>,
}

impl MessageKey {
    /// Whether messages with this header are sealed with this key. The source is the caller's.
    pub(super) const fn fits(&self, header: &Header) -> bool {
        self.boot == header.boot && self.salt == header.salt
    }

    /// Encrypts `body` in place; the tag is to follow it.
    pub(super) fn seal(
        &self,
        sequence: u64,
        header: &[u8],
        body: &mut [u8],
    ) -> Option<[u8; TAG_LEN]> {
        let tag = self.key.seal_in_place_separate_tag(nonce(sequence), Aad::from(header), body);
        tag.ok()?.as_ref().first_chunk().copied()
    }

    /// Verifies and decrypts `body`, which ends with the tag, in place. After `None` the bytes
    /// are of no use.
    pub(super) fn open<'a>(
        &self,
        sequence: u64,
        header: &[u8; HEADER_LEN],
        body: &'a mut [u8],
    ) -> Option<&'a [u8]> {
        let plain = self.key.open_in_place(nonce(sequence), Aad::from(header), body);
        plain.ok().map(|plain| &*plain)
    }
}

impl fmt::Debug for MessageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MessageKey(…)")
    }
}

fn nonce(sequence: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    if let Some(low) = nonce.last_chunk_mut() {
        *low = sequence.to_be_bytes();
    }
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_not_the_last_one() {
        assert_ne!(new_key().unwrap(), new_key().unwrap());
    }
}
