//! With real programs: `/bin/sh` and what it runs.

use super::*;

use rais_common::time::Time;

const LONG: Duration = Duration::from_secs(20);

fn shell(script: &str) -> Program {
    Program {
        path: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        environment: Vec::new(),
    }
}

/// Waits for something outside that cannot be waited for otherwise.
async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end: Time = crate::clock::now() + LONG;
    while !done() {
        assert!(crate::clock::now() < end, "{what}: not within {LONG:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Whether the process is there and not only waiting to be collected.
fn runs(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").starts_with(" Z"))
}

/// A directory of its own, taken away at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rais-process-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

#[tokio::test]
async fn success_returns_both_outputs_in_order() {
    let output = run(&shell("echo one; echo two >&2; echo three"), LONG).await.unwrap();
    assert_eq!(output.text(), "one\ntwo\nthree");
}

#[tokio::test]
async fn exit_code_is_told_with_the_output() {
    let error = run(&shell("echo no route >&2; exit 7"), LONG).await.unwrap_err();
    assert!(matches!(error, ProcessError::Exit { code: 7, .. }), "{error:?}");
    assert_eq!(error.to_string(), "/bin/sh exited with 7: no route");
}

#[tokio::test]
async fn signal_is_told() {
    let error = run(&shell("kill -TERM $$"), LONG).await.unwrap_err();
    assert!(matches!(error, ProcessError::Signal { signal: 15, .. }), "{error:?}");
    assert_eq!(error.to_string(), "/bin/sh was ended by signal 15");
}

#[tokio::test]
async fn missing_file_is_told() {
    let program = Program { path: "/nonexistent/script".into(), ..shell("") };
    let error = run(&program, LONG).await.unwrap_err();
    let ProcessError::Start { source, .. } = &error else { panic!("{error:?}") };
    assert_eq!(source.kind(), io::ErrorKind::NotFound);
}

#[tokio::test]
async fn file_that_is_not_executable_is_told() {
    let directory = Directory::new("plain");
    let path = directory.0.join("script");
    std::fs::write(&path, "#!/bin/sh\n").unwrap();
    let error = run(&Program { path, ..shell("") }, LONG).await.unwrap_err();
    let ProcessError::Start { source, .. } = &error else { panic!("{error:?}") };
    assert_eq!(source.kind(), io::ErrorKind::PermissionDenied);
}

#[tokio::test]
async fn a_hung_one_is_killed_with_its_grandchild() {
    let directory = Directory::new("hung");
    let file = directory.0.join("pid");
    let script = format!(
        "sh -c 'echo $$ > {f}.new; mv {f}.new {f}; exec sleep 1000' & echo waiting; wait",
        f = file.display()
    );
    let limit = Duration::from_millis(300);
    let before = crate::clock::now();
    let error = run(&shell(&script), limit).await.unwrap_err();
    let took = crate::clock::now().since(before);
    assert!(matches!(error, ProcessError::Deadline { .. }), "{error:?}");
    assert_eq!(error.to_string(), "/bin/sh took longer than 300ms and was killed: waiting");
    assert!(took >= limit && took < Duration::from_secs(10), "{took:?}");
    let grandchild = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    until("the grandchild goes", || !runs(&grandchild)).await;
}

#[tokio::test]
async fn a_dropped_one_is_killed_and_collected() {
    let directory = Directory::new("dropped");
    let file = directory.0.join("pid");
    let script = format!("echo $$ > {f}.new; mv {f}.new {f}; exec sleep 1000", f = file.display());
    let task = tokio::spawn(async move { run(&shell(&script), Duration::MAX).await });
    until("it starts", || file.exists()).await;
    let pid = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    assert!(runs(&pid));
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    until("it is collected", || !PathBuf::from(format!("/proc/{pid}")).exists()).await;
}

#[tokio::test]
async fn what_stays_in_the_background_is_not_waited_for() {
    let before = crate::clock::now();
    let output = run(&shell("sleep 30 & echo $!"), LONG).await.unwrap();
    assert!(crate::clock::now().since(before) < Duration::from_secs(10));
    let pid: i32 = output.text().parse().unwrap();
    assert!(runs(&output.text()), "a service that a script starts stays");
    nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn the_end_of_a_long_output_is_kept() {
    let script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; exit 1";
    let error = run(&shell(script), LONG).await.unwrap_err();
    let ProcessError::Exit { output, .. } = error else { panic!("{error:?}") };
    assert_eq!(output.kept.len(), OUTPUT_LIMIT);
    assert!(output.text().ends_with("line 19998\nline 19999"));
    assert_eq!(output.first_line(), None, "it was not kept");
    let said = async |script| run(&shell(script), LONG).await.unwrap().first_line();
    assert_eq!(said("echo one; echo two").await.as_deref(), Some("one"));
    assert_eq!(said("true").await.as_deref(), Some(""));
    assert_eq!(said("printf '\\nsecond'").await.as_deref(), Some(""));
}

#[tokio::test]
async fn output_without_end_does_not_outlive_the_deadline() {
    let error = run(&shell("exec yes"), Duration::from_millis(100)).await.unwrap_err();
    let ProcessError::Deadline { output, .. } = error else { panic!("{error:?}") };
    assert_eq!(output.kept.len(), OUTPUT_LIMIT);
}

#[tokio::test]
async fn surroundings() {
    let program = Program {
        environment: vec![("RAIS_EVENT", "acquire".to_owned())],
        ..shell("cat; echo $RAIS_EVENT $(ps -o pgid= -p $$) $$; grep SigBlk /proc/self/status")
    };
    let text = run(&program, LONG).await.unwrap().text();
    let (first, blocked) = text.split_once('\n').unwrap();
    let words: Vec<&str> = first.split_whitespace().collect();
    let [event, group, pid] = words[..] else { panic!("{text}") };
    assert_eq!((event, group), ("acquire", pid), "a process group of its own");
    assert_eq!(blocked, "SigBlk:\t0000000000000000");
}
