//! `[[group.test]]` and `[group.scripts]`

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::checked::{Scripts, Test, TestKind};
use super::facts::Facts;
use super::reader::{At, Section};

/// Most test or load objects of one group.
pub(super) const MAX_OBJECTS: usize = 64;

pub(super) const MILLISECOND: Duration = Duration::from_millis(1);

/// The test objects of a group.
pub(super) fn tests(group: &Section<'_>, facts: &dyn Facts) -> Vec<Test> {
    let sections = group.tables("test", "[[group.test]]");
    if let Some(extra) = sections.get(MAX_OBJECTS) {
        extra.mistake(format!("more than {MAX_OBJECTS} test objects in one group"));
    }
    let mut seen = BTreeMap::new();
    let mut tests = Vec::with_capacity(sections.len());
    for section in sections.into_iter().take(MAX_OBJECTS) {
        tests.extend(test(section, &mut seen, facts));
    }
    tests
}

fn test<'a>(
    section: Section<'a>,
    seen: &mut BTreeMap<&'a str, usize>,
    facts: &dyn Facts,
) -> Option<Test> {
    let name = section.string("name", "a name in quotes");
    let name = section.required("name", name, "a name that is unique in the group");
    if let Some(At { value, offset }) = name {
        section.document().once(seen, value, offset, |first| {
            format!("test `{value}` is there already, in line {first}; names are unique")
        });
    }
    if section.later_value("kind", &["http", "interface", "file", "dns"]) {
        // Its other keys are not known either.
        return None;
    }
    let kind = section.choice("kind", &[("tcp", true), ("script", false)]);
    let kind = if section.required("kind", kind, "\"tcp\" or \"script\"")?.value {
        tcp(&section)
    } else {
        script(&section, facts)
    };
    let interval = section.duration("interval", MILLISECOND);
    let timeout = section.duration("timeout", MILLISECOND);
    let rise = section.number("rise", 1);
    let fall = section.number("fall", 1);
    section.finish();
    Some(Test {
        name: name?.value.to_owned(),
        kind: kind?,
        interval: interval.map_or(Duration::from_secs(1), |at| at.value),
        timeout: timeout.map_or(Duration::from_millis(500), |at| at.value),
        rise: rise.map_or(2, |at| at.value),
        fall: fall.map_or(3, |at| at.value),
    })
}

fn tcp(section: &Section<'_>) -> Option<TestKind> {
    let expected = "an IP address and a port in quotes, such as \"127.0.0.1:8080\"";
    let address = section.parsed::<SocketAddr>("address", expected);
    section.required("address", address, expected).map(|at| TestKind::Tcp(at.value))
}

fn script(section: &Section<'_>, facts: &dyn Facts) -> Option<TestKind> {
    command(section, facts).map(TestKind::Script)
}

/// The program to run and its arguments.
pub(super) fn command(section: &Section<'_>, facts: &dyn Facts) -> Option<Vec<String>> {
    let expected = "the path of a program in quotes, or a list of it and its arguments";
    let command = section.string_or_list("command", expected);
    let command = section.required("command", command, expected)?;
    let program = command.value.first()?;
    check_program("command", &command.with(Path::new(program)), section, facts);
    Some(command.value)
}

/// Reports a program that cannot be run.
fn check_program(key: &str, path: &At<&Path>, section: &Section<'_>, facts: &dyn Facts) {
    let shown = path.value.display();
    let problem = if path.value.is_absolute() {
        facts.program(path.value).err()
    } else {
        Some("expected an absolute path".to_owned())
    };
    if let Some(problem) = problem {
        section.document().mistake(path.offset, format!("`{key}`: program {shown}: {problem}"));
    }
}

/// The scripts of a group.
pub(super) fn scripts(group: &Section<'_>, facts: &dyn Facts) -> Scripts {
    let mut scripts = Scripts { timeout: Duration::from_secs(10), ..Scripts::default() };
    let Some(section) = group.table("scripts", "[group.scripts]") else { return scripts };
    let program = |key| {
        let path = section.path(key)?;
        check_program(key, &path.with(path.value.as_path()), &section, facts);
        Some(path.value)
    };
    scripts.acquire = program("acquire");
    scripts.release = program("release");
    scripts.test_failed = program("test_failed");
    scripts.cannot_assign = program("cannot_assign");
    if let Some(at) = section.duration("timeout", MILLISECOND) {
        scripts.timeout = at.value;
    }
    section.finish();
    scripts
}
