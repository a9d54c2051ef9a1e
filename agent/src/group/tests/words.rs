//! What goes in and out, in words and together.

use super::*;

// Nothing, one thing, several → what is handed in.
#[test]
fn several_events_are_one() {
    let (quiesce, end) = (Event::Quiesce(true), Event::Shutdown);
    for (events, one) in [
        (vec![], None),
        (vec![quiesce.clone()], Some(quiesce.clone())),
        (vec![quiesce.clone(), end.clone()], Some(Event::Together(vec![quiesce, end]))),
    ] {
        assert_eq!(format!("{:?}", Event::together(events)), format!("{one:?}"));
    }
}

// Each reason has a word and an explanation of its own, and is found by its word.
#[test]
fn reasons() {
    for reason in Reason::ALL {
        assert_eq!(Reason::from_word(reason.word()), Some(reason));
        assert_eq!(reason.to_string(), reason.word());
        let mut others = Reason::ALL.into_iter().filter(|other| *other != reason);
        assert!(others.all(|other| other.explained() != reason.explained()));
    }
    assert_eq!(Reason::from_word("no-reason"), None);
    assert_eq!(Reason::HostDown.word(), "host-down");
    assert_eq!(Reason::HostDown.explained(), "its holder fell silent");
}

// A host is called by its address.
#[test]
fn hosts() {
    assert_eq!(host(5).to_string(), "10.77.0.5");
}
