//! The numbers of `docs/mib/RAIS-MIB.txt`.

use async_snmp::{Oid, Value, VarBind};

use super::{Kind, Speaker, Trap};

/// `raisMIB`. 32473 is the enterprise number for documentation (RFC 5612).
const MIB: [u32; 8] = [1, 3, 6, 1, 4, 1, 32_473, 9_477];

/// Longest text, in bytes (`DisplayString`, RFC 2579).
const LONGEST: usize = 255;

/// Below `raisObjects`.
const GROUP: u32 = 1;
const HOST: u32 = 2;
const SERVICE_ADDRESS: u32 = 3;
const REASON: u32 = 4;

impl Kind {
    /// Below `raisNotifications`.
    const fn number(self) -> u32 {
        match self {
            Self::Acquire => 1,
            Self::AcquireFail => 2,
            Self::Release => 3,
            Self::ReleaseFail => 4,
            Self::TestFailed => 5,
            Self::CannotAssign => 6,
        }
    }
}

/// What identifies a notification, and what it says.
pub(super) fn notification(trap: &Trap, speaker: &Speaker) -> (Oid, Vec<VarBind>) {
    let mut values = vec![object(GROUP, &speaker.group), object(HOST, &speaker.host.0.to_string())];
    values.extend(trap.address.map(|address| object(SERVICE_ADDRESS, &address.to_string())));
    values.push(object(REASON, &trap.reason));
    (oid(&[0, trap.kind.number()]), values)
}

fn oid(below: &[u32]) -> Oid {
    Oid::new(MIB.into_iter().chain(below.iter().copied()))
}

fn object(number: u32, text: &str) -> VarBind {
    VarBind::new(oid(&[1, number, 0]), Value::from(display_string(text).as_str()))
}

/// Printable ASCII on one line, which is all that receivers have to understand.
fn display_string(text: &str) -> String {
    let plain = |c: char| match c {
        ' '..='~' => c,
        c if c.is_control() => ' ',
        _ => '?',
    };
    text.trim().chars().map(plain).take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_made_one_that_receivers_understand() {
        assert_eq!(display_string(" refused\n\tby \u{1b}[1mü "), "refused  by  [1m?");
        assert_eq!(display_string(&"ü".repeat(1_000)), "?".repeat(LONGEST));
    }
}
