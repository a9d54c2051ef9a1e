//! Authentication and encryption of messages, and the text form of group keys.
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

/// A text is not a group key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not 64 characters.
    #[error("expected 64 hexadecimal digits, found {0} characters")]
    Length(usize),
    /// Not a hexadecimal digit, at this position from 1.
    #[error("expected 64 hexadecimal digits, character {0} is none")]
    Digit(usize),
}

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

/// The text form of a key: 64 hexadecimal digits, lower case.
#[must_use]
pub fn key_to_hex(key: &Key) -> String {
    key.0.iter().flat_map(|byte| [byte >> 4, byte & 0xf]).filter_map(digit).collect()
}

fn digit(nibble: u8) -> Option<char> {
    char::from_digit(u32::from(nibble), 16)
}

/// Reads the text form of a key, in either case, with white space around it allowed.
///
/// # Errors
/// The text is not 64 hexadecimal digits. The error quotes nothing of it.
pub fn key_from_hex(text: &str) -> Result<Key, KeyError> {
    let text = text.trim();
    let length = text.chars().count();
    if length != 64 {
        return Err(KeyError::Length(length));
    }
    let mut key = [0_u8; 32];
    let mut digits = text.chars().enumerate();
    for byte in &mut key {
        for _ in 0..2 {
            let (position, digit) = digits.next().ok_or(KeyError::Length(length))?;
            let value = digit.to_digit(16).and_then(|value| u8::try_from(value).ok());
            *byte = *byte << 4 | value.ok_or(KeyError::Digit(position + 1))?;
        }
    }
    Ok(Key(key))
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
    fn a_new_key_survives_its_text_form_and_is_not_the_last_one() {
        let (one, other) = (new_key().unwrap(), new_key().unwrap());
        assert_ne!(one, other);
        let text = key_to_hex(&one);
        assert_eq!(text.len(), 64);
        assert_eq!(key_from_hex(&text), Ok(one.clone()));
        assert_eq!(key_from_hex(&format!(" {}\n", text.to_uppercase())), Ok(one));
    }

    #[test]
    fn the_text_form_is_the_bytes_in_order() {
        let mut key = [0; 32];
        key[0] = 0x12;
        key[31] = 0xef;
        let text = format!("12{}ef", "0".repeat(60));
        assert_eq!(key_to_hex(&Key(key)), text);
        assert_eq!(key_from_hex(&text), Ok(Key(key)));
    }

    #[test]
    fn what_is_not_a_key_is_refused_and_not_quoted() {
        assert_eq!(key_from_hex(""), Err(KeyError::Length(0)));
        assert_eq!(key_from_hex(&"a".repeat(63)), Err(KeyError::Length(63)));
        assert_eq!(key_from_hex(&"ä".repeat(64)), Err(KeyError::Digit(1)));
        let text = format!("{}g{}", "0".repeat(9), "0".repeat(54));
        assert_eq!(key_from_hex(&text), Err(KeyError::Digit(10)));
    }
}
