//! Load object: a program says how busy the host is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rais_common::time::Time;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::LoadObject;
use crate::clock;
use crate::config::checked;
use crate::process::{self, Program};

/// How many intervals, or deadlines where these are longer, a value counts without a newer one.
const KEPT_RUNS: u32 = 3;

/// What a program said last. It runs by itself, at its interval: a sample waits for nothing. When
/// this is dropped it ends, and the program with it.
#[derive(Debug)]
pub struct LoadScript {
    latest: Arc<Mutex<Latest>>,
    _task: JoinSet<()>,
}

impl LoadScript {
    /// Starts running the program on `runtime`, the first time at once.
    ///
    /// Its first line is `LOAD CAPACITY` or, where a capacity is configured, `LOAD`. While it fails
    /// or hangs its last value counts for three intervals (or three times its deadline, where that
    /// is longer), then the host counts as full, as it does before the first value.
    #[must_use]
    pub fn start(runtime: &Handle, script: checked::LoadScript) -> Self {
        let kept = script.interval.max(script.timeout).saturating_mul(KEPT_RUNS);
        let latest = Arc::new(Mutex::new(Latest { kept, value: None, failing: false }));
        let mut task = JoinSet::new();
        task.spawn_on(repeat(script, Arc::clone(&latest)), runtime);
        Self { latest, _task: task }
    }
}

impl LoadObject for LoadScript {
    fn sample(&mut self, now: Time) -> Result<(u32, u32), String> {
        Ok(self.latest.lock().unwrap_or_else(PoisonError::into_inner).at(now))
    }
}

/// Runs the program for ever.
async fn repeat(script: checked::LoadScript, latest: Arc<Mutex<Latest>>) {
    let checked::LoadScript { command, interval, timeout, capacity } = script;
    let program = Program::of_command(command, "load");
    // An interval of nothing is refused by tokio.
    let mut turns = tokio::time::interval(interval.max(Duration::from_millis(1)));
    turns.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        turns.tick().await;
        let result = match process::run(&program, timeout).await {
            Ok(output) => parse(output.first_line().as_deref(), capacity)
                .map_err(|e| format!("{}: {e}", program.path.display())),
            Err(e) => Err(e.to_string()),
        };
        let mut latest = latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failure) = latest.result(result, clock::now()) {
            let kept = latest.kept;
            tracing::warn!(
                "load script: {failure}; its last value counts for {kept:?}, then this host counts \
                 as full"
            );
        }
    }
}

/// What the program said last.
#[derive(Debug)]
struct Latest {
    /// How long a value counts.
    kept: Duration,
    value: Option<(Time, u32, u32)>,
    /// The last run failed.
    failing: bool,
}

impl Latest {
    /// Takes the result of a run. Gives back what is to be said about a failure: the first of
    /// several in a row.
    fn result(&mut self, result: Result<(u32, u32), String>, now: Time) -> Option<String> {
        match result {
            Ok((load, capacity)) => {
                self.value = Some((now, load, capacity));
                self.failing = false;
                None
            }
            Err(failure) => (!std::mem::replace(&mut self.failing, true)).then_some(failure),
        }
    }

    /// Load and capacity at `now`. Without a value that still counts, full.
    fn at(&self, now: Time) -> (u32, u32) {
        match self.value {
            Some((at, load, capacity)) if now.since(at) <= self.kept => (load, capacity),
            Some((_, load, _)) => (load, 0),
            None => (0, 0),
        }
    }
}

/// `LOAD CAPACITY`, or `LOAD` where there is a capacity already. No line: it was lost.
fn parse(line: Option<&str>, capacity: Option<u32>) -> Result<(u32, u32), String> {
    let line = line.ok_or("it said too much, more than 4 KiB")?;
    let words: Vec<Option<u32>> =
        line.split_whitespace().map(|word| word.parse().ok()).take(3).collect();
    match (words.as_slice(), capacity.as_ref()) {
        ([Some(load), Some(capacity)], _) | ([Some(load)], Some(capacity)) => {
            Ok((*load, *capacity))
        }
        ([Some(_)], None) => {
            Err(format!("it said {line:?}, and no `capacity` is configured to go with it"))
        }
        (_, _) => Err(format!(
            "expected a line of LOAD and CAPACITY, whole numbers up to {}, found {line:?}",
            u32::MAX
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn lines() {
        let most = (u32::MAX, u32::MAX);
        let good = [
            ("5 10", None, (5, 10)),
            ("5 0", None, (5, 0)),
            (" 5\t10 ", None, (5, 10)),
            ("4294967295 4294967295", None, most),
            ("5", Some(7), (5, 7)),
            ("5 10", Some(7), (5, 10)),
        ];
        for (line, capacity, expected) in good {
            assert_eq!(parse(Some(line), capacity), Ok(expected), "{line}");
        }
        for line in ["", "x", "5 x", "5 10 15", "-1 10", "1.5 10", "4294967296 1", "5,10", "\0"] {
            let error = parse(Some(line), Some(7)).unwrap_err();
            assert!(error.starts_with("expected a line of LOAD and CAPACITY"), "{error}");
        }
        assert_eq!(
            parse(Some("5"), None).unwrap_err(),
            "it said \"5\", and no `capacity` is configured to go with it"
        );
        assert_eq!(parse(None, Some(7)).unwrap_err(), "it said too much, more than 4 KiB");
    }

    #[test]
    fn a_failure_is_said_once_and_the_last_value_counts_for_a_while() {
        let failure = || Err("exited with 1".to_owned());
        let said = Some("exited with 1".to_owned());
        let mut latest = Latest { kept: Duration::from_secs(15), value: None, failing: false };
        assert_eq!(latest.at(at(0)), (0, 0), "full before the first value");
        assert_eq!(latest.result(failure(), at(1)), said);
        assert_eq!(latest.at(at(1)), (0, 0));
        assert_eq!(latest.result(Ok((3, 10)), at(5)), None);
        assert_eq!(latest.at(at(5)), (3, 10));
        assert_eq!(latest.result(failure(), at(10)), said);
        assert_eq!(latest.result(failure(), at(15)), None);
        assert_eq!(latest.at(at(20)), (3, 10));
        assert_eq!(latest.at(at(21)), (3, 0), "full");
        // One that hangs says nothing at all, not even that it failed.
        assert_eq!(latest.result(Ok((4, 10)), at(25)), None);
        assert_eq!(latest.at(at(40)), (4, 10));
        assert_eq!(latest.at(at(41)), (4, 0));
        assert_eq!(latest.result(failure(), at(45)), said, "another occurrence");
    }

    /// A file that goes with this.
    struct File(PathBuf);

    impl File {
        fn new(name: &str, text: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("rais-load-{name}-{}", std::process::id()));
            fs::write(&path, text).unwrap();
            Self(path)
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            drop(fs::remove_file(&self.0));
        }
    }

    fn start(body: &str, timeout: Duration) -> LoadScript {
        let command = ["/bin/sh", "-c", body].map(str::to_owned).to_vec();
        let interval = Duration::from_millis(20);
        let script = checked::LoadScript { command, interval, timeout, capacity: Some(50) };
        LoadScript::start(&Handle::current(), script)
    }

    async fn wait(object: &mut LoadScript, expected: (u32, u32)) {
        let end = clock::now() + Duration::from_secs(20);
        while object.sample(clock::now()) != Ok(expected) {
            assert!(clock::now() < end, "{object:?} instead of {expected:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    #[tokio::test]
    async fn a_program_is_asked_again_and_again() {
        let file = File::new("again", "7 20\nmore\n");
        let body = format!("cat {}", file.0.display());
        let mut object = start(&body, Duration::from_secs(5));
        wait(&mut object, (7, 20)).await;
        fs::write(&file.0, "8\n").unwrap();
        wait(&mut object, (8, 50)).await;
    }

    #[tokio::test]
    async fn one_that_begins_to_fail_counts_as_full_in_the_end() {
        let file = File::new("fail", "7 20\n");
        let body = format!("cat {}", file.0.display());
        let mut object = start(&body, Duration::from_millis(200));
        wait(&mut object, (7, 20)).await;
        fs::write(&file.0, "a word\n").unwrap();
        wait(&mut object, (7, 0)).await;
        fs::write(&file.0, "9 20\n").unwrap();
        wait(&mut object, (9, 20)).await;
        // Its first line is not known any more.
        fs::write(&file.0, format!("1 20\n{}", "x".repeat(10_000))).unwrap();
        wait(&mut object, (9, 0)).await;
    }

    #[tokio::test]
    async fn one_that_hangs_is_killed_at_its_deadline_and_when_dropped() {
        let file = File::new("hang", "");
        let body = format!("echo $$ > {}; exec sleep 1000", file.0.display());
        let mut object = start(&body, Duration::from_millis(50));
        // Never waits, whatever the program does.
        assert_eq!(object.sample(clock::now()), Ok((0, 0)));
        let first = process(&file.0, "").await;
        let second = process(&file.0, &first).await;
        assert!(!Path::new("/proc").join(&first).exists(), "{first} runs beside {second}");
        drop(object);
        let end = clock::now() + Duration::from_secs(20);
        let last = fs::read_to_string(&file.0).unwrap();
        while Path::new("/proc").join(last.trim()).exists() {
            assert!(clock::now() < end, "process {last} still runs");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// The process id in the file, once it is another than `before`.
    async fn process(file: &Path, before: &str) -> String {
        let end = clock::now() + Duration::from_secs(20);
        loop {
            let text = fs::read_to_string(file).unwrap();
            if text.ends_with('\n') && text.trim() != before {
                return text.trim().to_owned();
            }
            assert!(clock::now() < end, "no process but {before:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}
