//! Queue, gaps, and the end of a recording; its replay on real turns is in `tests/tests/replay.rs`.

use super::*;

fn recorder(queue: &SyncSender<Line<Action>>) -> Recorder {
    Recorder { group: "web".to_owned(), queue: Some(queue.clone()), missed: 0 }
}

fn turn(recorder: &mut Recorder, nanos: u64) {
    let told = recorder.note(&Event::Tick);
    recorder.turn(Time::from_nanos(nanos), told, &[Action::Stopped]);
}

/// One word a line.
fn words(lines: &Receiver<Line<Action>>) -> Vec<String> {
    let word = |line| match line {
        Line::Turn { now, .. } => format!("turn {}", now.as_nanos()),
        Line::Missed { turns, .. } => format!("missed {turns}"),
        Line::End { .. } => "end".to_owned(),
        Line::Recording { .. } | Line::Start { .. } => "other".to_owned(),
    };
    lines.try_iter().map(word).collect()
}

#[test]
fn what_finds_no_room_is_counted_and_said_where_it_is_missing() {
    let (queue, lines) = sync_channel(3);
    let mut recorder = recorder(&queue);
    (1..=5).for_each(|n| turn(&mut recorder, n));
    assert_eq!(words(&lines), ["turn 1", "turn 2", "turn 3"]);
    turn(&mut recorder, 6);
    drop(recorder);
    assert_eq!(words(&lines), ["missed 2", "turn 6", "end"]);
}

#[test]
fn what_is_missing_at_the_end_is_said_too_where_there_is_room() {
    let (queue, lines) = sync_channel(3);
    let mut first = recorder(&queue);
    (1..=4).for_each(|n| turn(&mut first, n));
    // No room but for one line: that it is not complete is more than that it has ended.
    assert_eq!(lines.try_iter().take(1).count(), 1);
    drop(first);
    assert_eq!(words(&lines), ["turn 2", "turn 3", "missed 1"]);
}

#[test]
fn a_recording_that_has_ended_costs_nothing_more() {
    let (queue, lines) = sync_channel(3);
    let mut recorder = recorder(&queue);
    drop(lines);
    turn(&mut recorder, 1);
    assert!(recorder.note(&Event::Tick).is_none());
    assert!(Recorder::off().note(&Event::Tick).is_none());
}

#[test]
fn a_full_disk_ends_the_recording_and_nothing_else() {
    let recording = Recording::start(Path::new("/dev/full")).unwrap();
    let mut recorder = recording.recorders().of("web");
    // The thread ends at its first attempt to write, and with it the queue.
    while recorder.note(&Event::Tick).is_some() {
        turn(&mut recorder, 1);
        std::thread::yield_now();
    }
    drop(recorder);
    recording.finish();
}

#[test]
fn a_file_is_for_its_owner_and_what_was_in_it_is_lost() {
    use std::os::unix::fs::MetadataExt;
    let path = std::env::temp_dir().join(format!("rais-record-{}", std::process::id()));
    for _ in 0..2 {
        let recording = Recording::start(&path).unwrap();
        turn(&mut recording.recorders().of("web"), 7);
        recording.finish();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.starts_with("{\"recording\":{\"format\":1,"), "{text}");
        assert!(text.ends_with("{\"end\":{\"group\":\"web\"}}\n"), "{text}");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }
    std::fs::remove_file(&path).unwrap();
}
