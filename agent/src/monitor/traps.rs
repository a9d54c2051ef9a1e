//! The SNMP notification that goes with a report.

use crate::group::Report;
use crate::traps::{Kind, Trap};

/// What receivers of notifications are told; none for most reports.
pub(super) fn trap(report: &Report) -> Option<Trap> {
    let (kind, address, reason) = match report {
        Report::Acquired { address, reason, .. } => {
            (Kind::Acquire, Some(*address), reason.word().to_owned())
        }
        Report::AcquireFailed { address, error, .. } => {
            (Kind::AcquireFail, Some(*address), error.clone())
        }
        Report::Released { address, reason, .. } => {
            (Kind::Release, Some(*address), reason.word().to_owned())
        }
        Report::ReleaseFailed { address, error, .. } => {
            (Kind::ReleaseFail, Some(*address), error.clone())
        }
        Report::TestFailed { detail } => (Kind::TestFailed, None, detail.clone()),
        Report::CannotAssign(address) => {
            (Kind::CannotAssign, Some(*address), "no host can take it".to_owned())
        }
        Report::Leader(_)
        | Report::HostUp(_)
        | Report::HostDown { .. }
        | Report::HostLeft(_)
        | Report::Ordered { .. }
        | Report::TestPassed
        | Report::LeaseLapsed { .. }
        | Report::Quorum { .. }
        | Report::PreferredTwice { .. }
        | Report::Conflict { .. }
        | Report::Quiesced(_)
        | Report::BootRaised => return None,
    };
    Some(Trap { kind, address, reason })
}
