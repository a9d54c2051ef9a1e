//! `rais keygen`

use rais::config::checked::Key;
use ring::rand::{SecureRandom, SystemRandom};

/// Prints a new key as a key file holds it.
pub(super) fn main() -> anyhow::Result<()> {
    let mut key = Key([0; 32]);
    SystemRandom::new()
        .fill(&mut key.0)
        .map_err(|ring::error::Unspecified| anyhow::anyhow!("the system gives no random bytes"))?;
    super::print(&format!("{}\n", key.to_hex()))
}
